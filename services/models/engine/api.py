"""What every model promises to the services above it, and what one promises that reads and generates tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from tandem.method.errors import VENDOR_CODE, VENDOR_STATUS, vendor_in
from tandem.method.tokens import Sampling, TokenCounts

if TYPE_CHECKING:  # a gateway, which has no arrays, imports this module for its errors
    import numpy as np
    from numpy.typing import NDArray

    from services.models.engine.call_format import CallFormat, Grammar, Turn


class EngineError(Exception):
    """A request that the engine cannot run. `EngineError.__subclasses__()` lists all kinds.

    EngineError
    ├── PromptTooLong   prompt + answer exceed the context length
    ├── PromptRefused   the model's chat template, or its API, does not take these messages
    ├── QueueFull       as many requests wait as the engine accepts
    ├── DuplicateRequest   a request with this id is running
    ├── EngineStopped   the engine is shutting down or its thread has died
    ├── GenerationFailed   the next token of this one request could not be chosen
    ├── UnknownModel    an API does not have the model
    ├── InvalidSchema   the JSON schema is none, or has a keyword that no text can be held to
    ├── SchemaNotSupported   the back end cannot hold this text to a schema
    ├── ApiRefused      an API refuses the key, or has no means left
    ├── ApiBadReply     an API's reply is none of its protocol, or larger than any answer
    └── ApiUnavailable  an API does not answer

    `reason` is what a service reports to its client, `retry_after_s` when it may ask again, where that is known.
    `vendor`: the status of an API's refusal, as an error's metadata have it (tandem.method.errors).
    `prompt_tokens` are what an API may have computed of the prompt before it failed: an estimate; None where it has
    read nothing, or is no API.
    """

    reason = "ENGINE_ERROR"
    prompt_tokens: int | None = None

    def __init__(
        self, message: str = "", retry_after_s: float | None = None, *, vendor_status: int = 0, vendor_code: str = ""
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.vendor = vendor_in({VENDOR_STATUS: str(vendor_status or ""), VENDOR_CODE: vendor_code})


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
class Stops:
    """The text ends before the first of `strings`, the generation with the token that completes it, or soon after."""

    strings: tuple[str, ...] = ()
    held: str = ""  # the end of the prompt's text that may be the beginning of one


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What is computed of a prompt is found by later ones that begin with it, of the same owner."""

    owner: str = ""  # usage, price and time would tell another what was asked; empty: callers are not told apart
    is_kept: bool = False  # of a conversation: it stays cached at the end, for a later prompt that is kept as well
    num_shared: int = 0  # its first tokens, the tools, stay for longer: other conversations begin with them


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """At most `max_new_tokens` tokens after `prompt_ids` (not empty).

    With 0 the prompt is only prefilled, after every other request, and cached for one that begins with it.
    """

    request_id: str
    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    held_to: Grammar | str = ""  # or to a JSON schema: it ends by itself only where it is complete; empty: it is free
    num_written: int = 0  # the prompt's last tokens are the text's first: of an earlier attempt, or of another model
    stops: Stops = field(default_factory=Stops)
    cache: CacheUse = field(default_factory=CacheUse)

    @property
    def written(self) -> tuple[int, ...]:
        """What the prompt holds of the text."""
        return self.prompt_ids[len(self.prompt_ids) - self.num_written :]


@dataclass(frozen=True, slots=True)
class Token:
    """A generated token; of an API a piece of its stream, whose `id` is 0. `generated_at` is Unix time in seconds.

    `text` is empty while a character's bytes are incomplete, and while it may be the beginning of a stop string.

    `prompt_computed`, on the first token: how many tokens of the prompt were computed for it; None where a back end
    does not report it. `piece`: of a call that an API writes, and that `Finished.text` has whole.
    """

    id: int
    text: str
    generated_at: float
    prompt_computed: int | None = None
    piece: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """End of a generation. `text` is what was held back. `halted_at` is Unix time in seconds.

    `reason` is EOS where the model ended by itself or a stop string ended its text. With stop strings, `text` is empty
    after an abort:
    another attempt may go on from what is held back.

    `usage.completion` includes the stop token. `usage.is_estimated`: an API reported no usage that fits what it was
    sent and sent.
    """

    reason: FinishReason
    usage: TokenCounts
    text: str
    halted_at: float


@dataclass(frozen=True, slots=True)
class PromptScores:
    """The probabilities of a prompt's tokens.

    `logprobs` and `entropies` are float32[n - 1], in nats, for tokens 1..n-1 of the prompt: the log-probability of the
    token and the entropy of the full-vocabulary distribution that predicted it. `states` is float32[n, d], the output
    of the layer at two thirds of the depth; empty where a back end does not return it.
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
        """Token ids of `text`, none added. Special tokens in it are recognised, or with `plain` treated as plain
        text.
        """
        ...

    def decode(self, ids: Sequence[int]) -> str: ...

    @property
    def sha256(self) -> str:
        """Of vocabulary and chat template. A trained scorer belongs to one tokenizer."""
        ...

    def render_chat(self, messages: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str:
        """The chat template's text for messages, each (role, content) or as the template knows it, up to and including
        the assistant's header. `tools` as the template knows them. Raises PromptRefused.
        """
        ...

    @property
    def calls(self) -> CallFormat:
        """How the model writes calls. Raises PromptRefused where it cannot be given tools."""
        ...


class RunningModel(Protocol):
    """A model, here or behind an API. What it does for a request is the promise of an Engine or of a Writer."""

    counters: EngineCounters

    @property
    def info(self) -> ModelInfo: ...

    @property
    def load(self) -> EngineLoad: ...

    @property
    def is_alive(self) -> bool: ...  # it was started, and has neither been stopped nor died

    def start(self) -> None:
        """Load, warm up, begin to serve. Blocks. Raises OSError where weights or an API cannot be used."""
        ...

    def stop(self) -> None:
        """Abort every request and end the model's thread. Blocks."""
        ...

    def abort(self, request_id: str) -> bool:
        """End the text after the step under way; `Finished(ABORTED)` follows. False: there is none. A prefill stays
        cached.
        """
        ...


class Engine(RunningModel, Protocol):
    """A model that reads and generates tokens, for many requests at once. An abort takes effect within one token."""

    continues_json: bool
    """It holds a text to a JSON schema that is begun in the prompt (`num_written`); else it refuses such a request."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    def generate(self, generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        """Stream tokens, then exactly one Finished with the exact usage. Closing the generator early aborts the
        request.

        Raises PromptTooLong, QueueFull, DuplicateRequest, EngineStopped, GenerationFailed, and for a JSON schema
        InvalidSchema and SchemaNotSupported. A request that fails ends alone. An engine that dies raises EngineStopped
        in every stream.
        """
        ...


class PromptScorer(Engine, Protocol):
    """An engine that also says how likely each token of a prompt is."""

    async def score(self, key: str, prompt_ids: Sequence[int]) -> PromptScores:
        """Score a prompt (at least 2 tokens), reusing what an earlier call with this `key` computed of the same prefix.

        Raises PromptTooLong, EngineStopped.
        """
        ...
