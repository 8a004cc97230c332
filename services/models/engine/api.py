"""The Engine protocol: what every back end promises to the services above it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from tandem.method.tokens import Sampling, TokenCounts
from tandem.method.tools import ToolUse

if TYPE_CHECKING:  # a gateway, which has no arrays, imports this module for its errors
    import numpy as np
    from numpy.typing import NDArray

    from services.models.engine.call_format import CallFormat, Grammar, Turn


class EngineError(Exception):
    """A request that the engine cannot run. `EngineError.__subclasses__()` lists all kinds.

    EngineError
    ├── PromptTooLong   prompt + answer exceed the context length
    ├── PromptRefused   the model's chat template does not take these messages
    ├── QueueFull       as many requests wait as the engine accepts
    ├── DuplicateRequest   a request with this id is running
    ├── EngineStopped   the engine is shutting down or its thread has died
    ├── GenerationFailed   the next token of this one request could not be chosen
    ├── UnknownModel    an API does not have the model
    ├── InvalidSchema   the JSON schema is none, or has a keyword that no text can be held to
    ├── SchemaNotSupported   the back end cannot hold this text to a schema
    ├── ApiRefused      an API refuses the request or the key
    ├── ApiBadReply     an API's reply is none of its protocol, or larger than any answer
    └── ApiUnavailable  an API does not answer

    `reason` is what a service reports to its client, `retry_after_s` when it may ask again, where that is known. `prompt_tokens` are
    what an API may have computed of the prompt before it failed: an estimate; None where it has read nothing, or is no API.
    """

    reason = "ENGINE_ERROR"
    prompt_tokens: int | None = None

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PromptTooLong(EngineError):
    reason = "PROMPT_TOO_LONG"


class PromptRefused(EngineError):
    reason = "PROMPT_REFUSED"


class QueueFull(EngineError):
    reason = "QUEUE_FULL"


class DuplicateRequest(EngineError):
    reason = "DUPLICATE_REQUEST"


class EngineStopped(EngineError):
    reason = "ENGINE_STOPPED"


class GenerationFailed(EngineError):
    reason = "GENERATION_FAILED"


class UnknownModel(EngineError):
    reason = "UNKNOWN_MODEL"


class InvalidSchema(EngineError):
    reason = "INVALID_SCHEMA"


class SchemaNotSupported(EngineError):
    reason = "SCHEMA_NOT_SUPPORTED"


class ApiRefused(EngineError):
    reason = "API_REFUSED"


class ApiBadReply(EngineError):
    reason = "API_BAD_REPLY"


class ApiUnavailable(EngineError):
    reason = "API_UNAVAILABLE"


class FinishReason(StrEnum):
    EOS = "eos"
    LENGTH = "length"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One request: at most `max_new_tokens` tokens after `prompt_ids` (not empty).

    With 0 the prompt is only prefilled, after every other request, and cached for a generation that begins with it, if there is a cache.

    The text's first tokens may be the last `num_written` of the prompt: of an earlier attempt, or, of a JSON text, of a model that it
    goes on from. With `json_schema` the text is a JSON text that follows it, and ends by itself only where that is complete.

    With `stop_strings` the text ends before the first of them, and the generation with the token that completes it (a back end whose
    tokens are generated elsewhere aborts at it). `held` is the end of the prompt's text that may be the beginning of one.

    `owner` names whom the prompt belongs to. What is computed of it is found by prompts of the same owner that begin with it, and by no
    other owner's, whose usage, price and time would tell what was asked here. Empty where callers are not told apart: they are one owner.

    `grammar` holds the text to another form than JSON. `tools` may be called: an API, which calls them in its
    own form, is given these in place of a grammar. `wants_logprobs`: each token is to say how likely it was.
    `on_sent` is called with an estimate of the prompt's tokens before an API is asked: they may be paid even if this process dies then.
    `is_kept`: of a conversation, what was computed stays cached at the end, for a later prompt that is kept as well. Its first
    `num_shared` tokens, the tools, stay for longer: other conversations of the owner begin with them.
    """

    request_id: str
    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    json_schema: str = ""
    num_written: int = 0
    stop_strings: tuple[str, ...] = ()
    held: str = ""
    owner: str = ""
    is_kept: bool = False
    num_shared: int = 0
    grammar: Grammar | None = None
    tools: ToolUse = field(default_factory=ToolUse)
    wants_logprobs: bool = False
    on_sent: Callable[[int], None] = lambda tokens: None

    @property
    def held_to(self) -> Grammar | str:
        """A grammar or a JSON schema; empty: the text is free."""
        return self.grammar or self.json_schema

    @property
    def written(self) -> tuple[int, ...]:
        """What the prompt holds of the text."""
        return self.prompt_ids[len(self.prompt_ids) - self.num_written :]


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token. `text` is empty while a character's bytes are incomplete, or while it is held back as the possible beginning
    of a stop string. `generated_at` is Unix time in seconds.

    `prompt_computed`, on the first token: how many tokens of the prompt were computed for it; None where a back end does not
    report it. `logprob`, where it was wanted: of the token before any constraint and temperature, in nats; None as before.
    """

    id: int
    text: str
    generated_at: float
    prompt_computed: int | None = None
    logprob: float | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """End of a generation. `text` is what was held back. `halted_at` is Unix time in seconds.

    `reason` is EOS where the model ended by itself or a stop string ended its text. With stop strings, `text` is empty after an abort:
    another attempt may go on from what is held back.

    `usage.completion` includes the stop token. `usage.is_estimated`: an API reported no usage that fits what it was sent and sent.
    """

    reason: FinishReason
    usage: TokenCounts
    text: str
    halted_at: float


@dataclass(frozen=True, slots=True)
class PromptScores:
    """The probabilities of a prompt's tokens.

    `logprobs` and `entropies` are float32[n - 1], in nats, for tokens 1..n-1 of the prompt: the log-probability of the
    token and the entropy of the full-vocabulary distribution that predicted it. `states` is float32[n, d], the output of the
    layer at two thirds of the depth; empty where a back end does not return it.
    """

    logprobs: NDArray[np.float32]
    entropies: NDArray[np.float32]
    states: NDArray[np.float32]
    usage: TokenCounts


@dataclass(frozen=True, slots=True)
class ModelInfo:
    name: str
    revision: str
    dtype: str
    device: str
    parameters: int
    context_length: int
    engine: str
    engine_version: str
    provider: str = ""  # of an API of others: its protocol, such as openai; empty: the model runs here
    address: str = ""  # the API's URL, where it is known


@dataclass(slots=True)
class EngineCounters:
    """Tokens that the engine has computed since it started, for any request."""

    input_tokens: int = 0
    output_tokens: int = 0
    scored_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """Requests in the engine: those that run, and those that wait."""

    running: int
    waiting: int


class Tokenizer(Protocol):
    def encode(self, text: str, *, plain: bool = False) -> list[int]:
        """Token ids of `text`, none added. Special tokens in it are recognised, or with `plain` treated as plain text."""
        ...

    def decode(self, ids: Sequence[int]) -> str: ...

    @property
    def sha256(self) -> str:
        """Of vocabulary and chat template. A trained scorer belongs to one tokenizer."""
        ...

    def render_chat(self, messages: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str:
        """The chat template's text for messages, each (role, content) or as the template knows it, up to and including the assistant's
        header. `tools` as the template knows them. Raises PromptRefused.
        """
        ...

    @property
    def calls(self) -> CallFormat:
        """How the model writes calls. Raises PromptRefused where it cannot be given tools."""
        ...


class Engine(Protocol):
    """A model that generates for many requests at once. An abort of one takes effect within one token."""

    counters: EngineCounters
    continues_json: bool
    """It holds a text to a JSON schema that is begun in the prompt (`num_written`); without, it refuses such a request."""

    @property
    def info(self) -> ModelInfo: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def load(self) -> EngineLoad: ...

    @property
    def is_alive(self) -> bool: ...  # it was started, and has neither been stopped nor died

    def start(self) -> None:
        """Load, warm up, begin to serve. Blocks. Raises OSError where the weights cannot be read."""
        ...

    def stop(self) -> None:
        """Abort every request and end the engine's thread. Blocks."""
        ...

    def generate(self, generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        """Stream tokens, then exactly one Finished with the exact usage. Closing the generator early aborts the request.

        Raises PromptTooLong, QueueFull, DuplicateRequest, EngineStopped, GenerationFailed, and for a JSON schema InvalidSchema
        and SchemaNotSupported. A request that fails ends alone. An engine that dies raises EngineStopped in every stream.
        """
        ...

    def abort(self, request_id: str) -> bool:
        """End the sequence after the step under way; its stream ends with `Finished(ABORTED)`. False: there is none of this id. What was
        computed of a prefill-only request stays cached.
        """
        ...

    async def score(self, key: str, prompt_ids: Sequence[int]) -> PromptScores:
        """Score a prompt (at least 2 tokens), reusing what an earlier call with this `key` computed of the same prefix.

        Raises PromptTooLong, EngineStopped.
        """
        ...
