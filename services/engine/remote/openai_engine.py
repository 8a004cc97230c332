"""Any OpenAI-compatible HTTP API as a back end: streamed, and aborted by closing the connection.

The API has the tokenizer, this side has only text. So a Token here is the text of one chunk of the stream, its id encodes that
text, and usage is what the API reports at the end. A stream that was cut reports no usage: then each chunk counts as one token
and the usage is marked as an estimate. The client of the SDK reads OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import openai
from openai import AsyncOpenAI, OpenAI

from services.engine.api import (
    ApiRefused,
    ApiUnavailable,
    EngineCounters,
    EngineError,
    EngineLoad,
    Finished,
    FinishReason,
    GenerationRequest,
    ModelInfo,
    PromptScores,
    PromptTooLong,
    QueueFull,
    SchemaNotSupported,
    Token,
    UnknownModel,
)
from services.engine.json_schema import ANY_JSON, is_beginning
from services.engine.remote.admission_queue import AdmissionQueue, unless_aborted
from services.engine.remote.messages import MessageCodec
from services.engine.settings import from_arguments
from tandem.method.tokens import TokenCounts

_CLOSE_SECONDS = 5.0
_CONTINUE = "Go on exactly where you stopped, without repeating anything."


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`max_batch` requests are open at once, `max_waiting` wait. `base_url` and `api_key` of None: the SDK's environment."""

    name: str
    base_url: str | None = None
    api_key: str | None = None
    max_batch: int = 16
    max_waiting: int = 64
    context_length: int = 1 << 20
    timeout_seconds: float = 600.0


class OpenAIEngine:
    """`Engine` without a scoring pass: an API returns no log-probabilities of a prompt."""

    continues_json = False

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._tokenizer = MessageCodec()
        self._queue = AdmissionQueue(settings.max_batch, settings.max_waiting, "an API")
        self._asks_for_usage = True
        self._client: AsyncOpenAI | None = None
        self.counters = EngineCounters()

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            name=self._settings.name, revision="", dtype="", device="api", parameters=0,
            context_length=self._settings.context_length, engine="openai", engine_version=openai.__version__,
        )  # fmt: skip

    @property
    def tokenizer(self) -> MessageCodec:
        return self._tokenizer

    @property
    def load(self) -> EngineLoad:
        return self._queue.load

    @property
    def is_alive(self) -> bool:
        return self._queue.is_open

    def start(self) -> None:
        """Ask the API for the model. Raises OSError where it does not answer, or does not have it."""
        options: dict[str, Any] = {"base_url": self._settings.base_url, "api_key": self._settings.api_key}
        try:
            with OpenAI(**options, max_retries=0, timeout=20) as client:
                known = {model.id for model in client.models.list()}
        except openai.OpenAIError as error:
            raise OSError(f"the API does not answer: {error}; check OPENAI_BASE_URL and OPENAI_API_KEY") from error
        if self._settings.name not in known:
            raise OSError(f"the API has no model {self._settings.name!r}; it has: {', '.join(sorted(known))}")
        self._client = AsyncOpenAI(**options, max_retries=0, timeout=self._settings.timeout_seconds)
        self._queue.is_open = True

    def stop(self) -> None:
        """Also closes the idle connections of the client's pool."""
        if self._client is not None:
            self._queue.close(_CLOSE_SECONDS, self._client.close)

    def generate(self, generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        return self._queue.run(generation, self._stream)

    def abort(self, request_id: str) -> bool:
        return self._queue.abort(request_id)

    async def score(self, key: str, prompt_ids: Sequence[int]) -> PromptScores:
        raise EngineError("an API returns no log-probabilities of a prompt: score with the transformers engine")

    async def _stream(
        self, generation: GenerationRequest, aborted: asyncio.Event
    ) -> AsyncGenerator[Token | Finished, None]:
        """Tokens as they arrive. Closing this generator, like an abort, closes the connection."""
        if not generation.max_new_tokens:  # the API manages its own prefix cache
            yield Finished(FinishReason.LENGTH, TokenCounts(), "", time.time())
            return
        reply = _Reply(self._tokenizer, len(generation.prompt_ids))
        opening = asyncio.ensure_future(self._open(generation))
        if not await unless_aborted(opening, aborted):
            # The API may or may not have prefilled the prompt by now.
            yield self._finished(FinishReason.ABORTED, reply.estimate)
            return
        stream = opening.result()
        try:
            while True:
                receiving = asyncio.ensure_future(anext(stream, None))
                if not await unless_aborted(receiving, aborted):
                    yield self._finished(FinishReason.ABORTED, reply.estimate)
                    return
                if receiving.result() is None:
                    break
                for token in reply.add(receiving.result()):
                    yield token
        except openai.OpenAIError as error:
            _translate(error)
        finally:
            await stream.close()
        if generation.json_schema:
            reply.check_json()
        for token in reply.tokens_without_text():
            yield token
        yield self._finished(reply.reason, reply.usage)

    def _finished(self, reason: FinishReason, usage: TokenCounts) -> Finished:
        self.counters.input_tokens += usage.prompt
        self.counters.output_tokens += usage.completion
        return Finished(reason, usage, "", time.time())

    async def _open(self, generation: GenerationRequest) -> Any:
        """The API's stream of chunks. Raises EngineError."""
        assert self._client is not None
        arguments = self._arguments(generation)
        try:
            if self._asks_for_usage:
                try:
                    return await self._client.chat.completions.create(
                        **arguments, stream_options={"include_usage": True}
                    )
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    if "stream_options" not in str(error):
                        raise
                    self._asks_for_usage = False  # such an API reports usage without being asked, or never
            return await self._client.chat.completions.create(**arguments)
        except openai.OpenAIError as error:
            _translate(error)

    def _arguments(self, generation: GenerationRequest) -> dict[str, Any]:
        messages = [{"role": role, "content": text} for role, text in self._tokenizer.messages(generation.prompt_ids)]
        if messages[-1]["role"] == "assistant":  # the text of an earlier attempt
            messages.append({"role": "user", "content": _CONTINUE})
        sampling = generation.sampling
        arguments: dict[str, Any] = {
            "model": self._settings.name,
            "messages": messages,
            "max_tokens": generation.max_new_tokens,
            "temperature": sampling.temperature,
            "stream": True,
        }
        if generation.json_schema:
            schema = {"name": "answer", "schema": json.loads(generation.json_schema), "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        if generation.stop_strings:  # the API ends, and bills, at the very token
            arguments["stop"] = list(generation.stop_strings)
        return {**arguments, "top_p": sampling.top_p, "seed": sampling.seed} if sampling.temperature else arguments


class _Reply:
    """What the chunks of one stream have brought so far."""

    def __init__(self, codec: MessageCodec, num_prompt_ids: int) -> None:
        self.reason = FinishReason.EOS
        self._codec = codec
        self._num_prompt_ids = num_prompt_ids
        self._num_tokens = 0
        self._text = ""
        self._reported: Any = None  # the API's usage

    def add(self, chunk: Any) -> list[Token]:
        self._reported = chunk.usage or self._reported
        tokens = []
        for choice in chunk.choices:
            if choice.delta.content:
                tokens.append(self._token(choice.delta.content))
            if choice.finish_reason == "length":
                self.reason = FinishReason.LENGTH
        return tokens

    def tokens_without_text(self) -> list[Token]:
        """At the end: tokens that the API counts beyond the chunks. A chunk may carry several, and the stop token none."""
        reported = self._reported.completion_tokens if self._reported else 0
        return [self._token("") for _ in range(reported - self._num_tokens)]

    def check_json(self) -> None:
        """At the end: an API that does not know the parameter `response_format` may ignore it. Raises SchemaNotSupported.

        Whether the text follows the schema is for a check to say.
        """
        if not is_beginning(ANY_JSON, self._text.strip()):
            raise SchemaNotSupported("the API ignores the JSON schema of the request: its text is no JSON")

    @property
    def estimate(self) -> TokenCounts:
        return TokenCounts(self._num_prompt_ids, 0, self._num_tokens, is_estimated=True)

    @property
    def usage(self) -> TokenCounts:
        """At the end: what the API reports; an estimate where it reports nothing, or fewer tokens than it sent chunks."""
        if self._reported is None:
            return self.estimate
        details = self._reported.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details else 0
        differs = self._num_tokens != self._reported.completion_tokens
        return TokenCounts(self._reported.prompt_tokens - cached, cached, self._num_tokens, is_estimated=differs)

    def _token(self, text: str) -> Token:
        self._num_tokens += 1
        self._text += text
        return Token(self._codec.number(text), text, time.time())


def _translate(error: openai.OpenAIError) -> NoReturn:
    """Raise the EngineError that stands for an error of the API."""
    match error:
        case openai.RateLimitError():
            raise QueueFull(f"the API accepts no more requests: {error}") from error
        case openai.NotFoundError():
            raise UnknownModel(f"the API does not have the model: {error}") from error
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            raise ApiRefused(f"the API refuses the key: {error}") from error
        case openai.BadRequestError() | openai.UnprocessableEntityError() if "response_format" in str(error):
            raise SchemaNotSupported(f"the API does not hold its text to this JSON schema: {error}") from error
        case openai.BadRequestError() if "context" in str(error).lower():
            raise PromptTooLong(str(error)) from error
        case openai.APIStatusError() if error.status_code < 500:
            raise ApiRefused(f"the API refuses the request: {error}") from error
        case _:
            raise ApiUnavailable(f"the API does not answer: {error}") from error


def make(arguments: dict[str, Any]) -> OpenAIEngine:
    """From the arguments of services.engine.registry."""
    return OpenAIEngine(from_arguments(ApiSettings, arguments))
