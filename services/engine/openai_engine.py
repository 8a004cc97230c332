"""Any OpenAI-compatible HTTP API as the large model: streamed, and cut by closing the connection.

The API has the tokenizer, we have text. So a "token" here is what one chunk of the stream brings, its id is that text as a
number, and usage is what the API says at the end. A stream that was cut tells none: then each chunk counts as one
token and the usage is marked as an estimate. Reads OPENAI_BASE_URL and OPENAI_API_KEY.
"""

from __future__ import annotations

import asyncio
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
    Token,
    UnknownModel,
)
from services.engine.messages import MessageCodec
from services.engine.places import Places, unless_aborted
from tandem.method.tokens import TokenCounts

_CLOSE_SECONDS = 5.0
_GO_ON = "Go on exactly where you stopped, without repeating anything."


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`max_batch` requests are open at once, `max_waiting` wait. None: what the environment says."""

    name: str
    base_url: str | None = None
    api_key: str | None = None
    max_batch: int = 16
    max_waiting: int = 64
    context_length: int = 1 << 20
    timeout_seconds: float = 600.0


class OpenAIEngine:
    """`Engine` without a scoring pass: an API shows no probabilities of a prompt."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._tokenizer = MessageCodec()
        self._places = Places(settings.max_batch, settings.max_waiting)
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
        return self._places.load

    @property
    def is_alive(self) -> bool:
        return self._places.is_open

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
        self._places.is_open = True

    def stop(self) -> None:
        """Also closes the connections that are kept for a next request."""
        if self._client is not None:
            self._places.close(_CLOSE_SECONDS, self._client.close)

    def generate(self, generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        return self._places.run(generation, self._stream)

    def abort(self, request_id: str) -> bool:
        return self._places.abort(request_id)

    async def score(self, key: str, prompt_ids: Sequence[int]) -> PromptScores:
        raise EngineError("an API shows no probabilities of a prompt: score with the transformers engine")

    async def _stream(
        self, generation: GenerationRequest, aborted: asyncio.Event
    ) -> AsyncGenerator[Token | Finished, None]:
        """Tokens as they come; closing this generator, like an abort, closes the connection."""
        if not generation.max_new_tokens:  # what an API keeps of a prompt is its own affair
            yield Finished(FinishReason.LENGTH, TokenCounts(), "", time.time())
            return
        estimated_input = len(generation.prompt_ids)
        made, reason, usage = 0, FinishReason.EOS, None
        opening = asyncio.ensure_future(self._request(generation))
        if not await unless_aborted(opening, aborted):
            # It may have been read by now; nobody can tell.
            yield self._finished(FinishReason.ABORTED, TokenCounts(estimated_input, 0, 0, is_estimated=True))
            return
        stream = opening.result()
        try:
            while True:
                chunk_task = asyncio.ensure_future(anext(stream, None))
                if not await unless_aborted(chunk_task, aborted):
                    yield self._finished(FinishReason.ABORTED, TokenCounts(estimated_input, 0, made, is_estimated=True))
                    return
                chunk = chunk_task.result()
                if chunk is None:
                    break
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    if choice.delta.content:
                        made += 1
                        yield Token(self._tokenizer.number(choice.delta.content), choice.delta.content, time.time())
                    if choice.finish_reason == "length":
                        reason = FinishReason.LENGTH
        except openai.OpenAIError as error:
            _translate(error)
        finally:
            await stream.close()
        if usage is None:
            yield self._finished(reason, TokenCounts(estimated_input, 0, made, is_estimated=True))
            return
        cached = (usage.prompt_tokens_details.cached_tokens or 0) if usage.prompt_tokens_details else 0
        # A chunk may carry several tokens, and the one that ends the text carries none: the API's count is the bill's.
        for _ in range(usage.completion_tokens - made):
            yield Token(self._tokenizer.number(""), "", time.time())
        made = max(made, usage.completion_tokens)
        is_estimated = made != usage.completion_tokens
        yield self._finished(reason, TokenCounts(usage.prompt_tokens - cached, cached, made, is_estimated=is_estimated))

    def _finished(self, reason: FinishReason, usage: TokenCounts) -> Finished:
        self.counters.input_tokens += usage.prompt
        self.counters.output_tokens += usage.completion
        return Finished(reason, usage, "", time.time())

    async def _request(self, generation: GenerationRequest) -> Any:
        assert self._client is not None
        messages = [{"role": role, "content": text} for role, text in self._tokenizer.messages(generation.prompt_ids)]
        if messages[-1]["role"] == "assistant":  # what an earlier attempt has written
            messages.append({"role": "user", "content": _GO_ON})
        sampling = generation.sampling
        arguments: dict[str, Any] = {
            "model": self._settings.name,
            "messages": messages,
            "max_tokens": generation.max_new_tokens,
            "temperature": sampling.temperature,
            "stream": True,
        }
        if sampling.temperature:
            arguments.update(top_p=sampling.top_p, seed=sampling.seed)
        try:
            if self._asks_for_usage:
                try:
                    return await self._client.chat.completions.create(
                        **arguments, stream_options={"include_usage": True}
                    )
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    if "stream_options" not in str(error):
                        raise
                    self._asks_for_usage = False  # it tells its usage unasked, or not at all
            return await self._client.chat.completions.create(**arguments)
        except openai.OpenAIError as error:
            _translate(error)


def _translate(error: openai.OpenAIError) -> NoReturn:
    """The API's error as an engine's."""
    match error:
        case openai.RateLimitError():
            raise QueueFull(f"the API takes no more: {error}") from error
        case openai.NotFoundError():
            raise UnknownModel(f"the API does not have the model: {error}") from error
        case openai.AuthenticationError() | openai.PermissionDeniedError():
            raise ApiRefused(f"the API refuses the key: {error}") from error
        case openai.BadRequestError() if "context" in str(error).lower():
            raise PromptTooLong(str(error)) from error
        case openai.APIStatusError() if error.status_code < 500:
            raise ApiRefused(f"the API refuses the request: {error}") from error
        case _:
            raise ApiUnavailable(f"the API does not answer: {error}") from error


def make(arguments: dict[str, Any]) -> OpenAIEngine:
    """From the arguments of services.engine.registry."""
    return OpenAIEngine(
        ApiSettings(arguments["name"], max_batch=arguments["max_batch"], max_waiting=arguments["max_waiting"])
    )
