"""A model behind an API of others, whatever its protocol: streamed, aborted by closing the connection, counted as the
API reports.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from services.models.engine.api import (
    ApiBadReply,
    ApiUnavailable,
    EngineError,
    Finished,
    FinishReason,
    ModelInfo,
    PromptRefused,
    QueueFull,
    Stops,
    Token,
)
from services.models.engine.call_format import CallFormat
from services.models.engine.remote.admission_queue import AdmissionQueue, QueuedModel, unless_aborted
from services.models.engine.remote.calls import CALLS
from services.models.engine.remote.circuit import Circuit, Passage
from services.models.engine.remote.counts import estimated_tokens
from services.models.engine.remote.events import Event, read_event
from services.models.engine.remote.limits import RateLimits
from services.models.engine.remote.refusals import (
    ErrorReply,
    explain,
    may_be_paid,
    origin_of,
    was_reached,
    withheld,
)
from services.models.engine.remote.reply import Reply
from services.models.engine.settings import from_arguments
from services.models.engine.writer import Abilities, Writing
from tandem.endpoints.event_stream import BadStream, EventStream
from tandem.endpoints.key import endpoint_key
from tandem.endpoints.probe import require_model
from tandem.endpoints.requests import EndpointError
from tandem.method.problems import problems
from tandem.method.profile.endpoint import Api, Capabilities, Limits
from tandem.method.request.prompts import Conversation
from tandem.method.tokens import TokenCounts

logger = logging.getLogger(__name__)
CONTINUE = "Go on exactly where you stopped, without repeating anything."
CONNECT_SECONDS, SILENT_SECONDS = 10.0, 120.0
"""How long an API may take to be reached, and to send the next piece: a hanging one fails long before the attempt's own
limit.
"""
_NO_TOOLS = "the model's API calls no tools (`tandem profile check` asks it), so this model cannot be given any"
_CLOSE_SECONDS, _DRAIN_SECONDS, _LIST_SECONDS = 5.0, 0.1, 20.0


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """`max_batch` requests are open at once, `max_waiting` wait. `base_url` and `api_key` of None: the SDK's
    environment. `model` is the API's name of the model, where that is not `name`.
    """

    name: str
    base_url: str | None = None
    api_key: str | None = None
    max_batch: int = 16
    max_waiting: int = 64
    context_length: int = 1 << 20
    timeout_seconds: float = SILENT_SECONDS
    model: str = ""
    can: Capabilities = field(default_factory=Capabilities)
    limits: Limits = field(default_factory=Limits)
    cache_marks: bool = True

    @property
    def asked(self) -> str:
        return self.model or self.name


class Dialect(ABC):
    """How one protocol's API is reached, asked and understood."""

    name: str
    version: str
    errors: type[Exception]
    event: type[Event]

    def __init__(self, settings: ApiSettings) -> None:
        self.settings = settings
        self._no_efforts: set[str] = set()  # that the model has refused

    @abstractmethod
    def connect(self) -> tuple[str, str]:
        """Make the SDK's client. Returns the API's address and the key, which may be from the SDK's environment."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Close the connections."""

    @abstractmethod
    async def open(self, writing: Writing) -> Any:
        """The SDK's stream, of which nothing is read yet. Raises ErrorReply, EngineError and the SDK's errors."""

    async def opened(self, writing: Writing) -> Any:
        """As `open`. Where the model refuses its effort, which is a hint, it is asked without, now and from then on."""
        effort = writing.sampling.effort
        if writing.native is not None or effort is None:
            return await self.open(writing)
        without = replace(writing, sampling=replace(writing.sampling, effort=None))
        if effort not in self._no_efforts:
            try:
                return await self.open(writing)
            except Exception as error:
                refused = origin_of(error)
                if not (isinstance(refused, ErrorReply) and refused.status in (400, 422) and "effort" in str(refused)):
                    raise
                self._no_efforts.add(effort)
        return await self.open(without)

    @abstractmethod
    def read(self, event: Any, reply: Reply) -> list[Token]:
        """What an event of the dialect's kind adds to the reply. Raises EngineError."""

    def shown(self, event: Any, data: bytes) -> str:
        """The event as a caller of the same protocol is given it: as it came, without what that knows anyway."""
        return data.decode()


class ApiWriter(QueuedModel):
    """`RunningModel` and `Writer`, in a protocol's dialect."""

    dialect: type[Dialect]

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(AdmissionQueue(settings.max_batch, settings.max_waiting, "an API"))
        self._settings = settings
        self._api = self.dialect(settings)
        self._circuit, self._limits = Circuit(), RateLimits(settings.limits)
        self._revision, self._secrets = "", ("", "")  # the key and the address

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(
            name=self._settings.name, revision=self._revision, dtype="", device="api", parameters=0,
            context_length=self._settings.context_length, engine=self._api.name, engine_version=self._api.version,
            provider=self._api.name, address=self._settings.base_url or "",
        )  # fmt: skip

    @property
    def can(self) -> Abilities:
        return Abilities(continues_schema=False, exact_usage=False)

    @property
    def calls(self) -> CallFormat:
        if not self._settings.can.tools:
            raise PromptRefused(_NO_TOOLS)
        return CALLS

    def num_tokens(self, conversation: Conversation) -> int:
        return estimated_tokens(conversation)

    def texts(self, conversation: Conversation, ids: Sequence[int]) -> Iterable[str]:
        return ()

    def start(self) -> None:
        """Raises OSError where the API does not answer, or does not have the model."""
        try:
            url, key = self._api.connect()
            self._secrets = key, url
            api = Api.model_validate({"protocol": self._api.name, "url": url, "model": self._settings.asked})
            require_model(api, key, _LIST_SECONDS)
        except (EndpointError, ValueError, self._api.errors) as error:
            raise OSError(f"the API cannot be used: {problems(error)}; check its address and key") from error
        for loss in self._settings.can.losses():
            logger.info("%s: %s", self._settings.name, loss)
        self._queue.is_open = True

    def stop(self) -> None:
        """Also closes the idle connections of the client's pool."""
        self._queue.close(_CLOSE_SECONDS, self._api.disconnect)

    def write(self, writing: Writing) -> AsyncGenerator[Token | Finished, None]:
        if not self._settings.can.tools and writing.conversation.has_calls:
            raise PromptRefused(_NO_TOOLS)
        stream, is_begun = partial(self._stream, writing), bool(writing.earlier.ids)
        stops = Stops(writing.stop_strings, writing.earlier.held)
        return self._queue.run(writing.id, stream, stops, writing.json_schema, is_begun=is_begun)

    async def _stream(self, writing: Writing, aborted: asyncio.Event) -> AsyncGenerator[Token | Finished, None]:
        """Tokens as they arrive. Closing this generator, like an abort, closes the connection."""
        if not writing.max_tokens:  # the API manages its own prefix cache
            yield Finished(FinishReason.LENGTH, TokenCounts(), "", time.time())
            return
        reply = Reply(writing, self._settings.can)
        most = reply.cut.prompt + writing.max_tokens
        passage = await self._turn(writing.cache.owner, most, aborted)
        if passage is None:
            yield Finished(FinishReason.ABORTED, TokenCounts(), "", time.time())
            return
        spent = None
        try:
            writing.on_sent(reply.cut.prompt)
            async with aclosing(self._events(writing, aborted)) as events:
                async for event, data in events:
                    tokens = self._api.read(event, reply)
                    if writing.native is not None:
                        reply.pass_on(self._api.shown(event, data))
                    for token in tokens:
                        yield token
                    if reply.is_over:
                        break
            is_cut = aborted.is_set()
            if not is_cut:
                for token in reply.finish():
                    yield token
                self._circuit.succeeded(passage)
                reply.check()
        except Exception as raised:
            error = origin_of(raised)
            spent = reply.cut if may_be_paid(error) else TokenCounts()
            explained = self._explained(error, passage)
            if isinstance(explained, EngineError):
                explained.prompt_tokens = spent.prompt or None
            raise explained from error if explained is not error else None
        finally:
            self._circuit.left(passage)
            spent = reply.cut if spent is None else spent
            self._limits.end(most, spent.read + spent.completion)
        if is_cut:
            yield self._ended(FinishReason.ABORTED, reply.cut)
            return
        self._note_model(reply.model)
        yield self._ended(reply.reason or FinishReason.EOS, reply.whole, reply.called)

    async def _turn(self, caller: str, most: int, aborted: asyncio.Event) -> Passage | None:
        """Wait for a share of the limits, at most so many tokens, and pass the circuit. None: the abort came first.

        Raises QueueFull, ApiUnavailable.
        """
        wait, passage = self._limits.reserve(most), None
        try:
            if not wait or await unless_aborted(asyncio.sleep(wait), aborted):
                passage = self._circuit.enter(caller)
            return passage
        finally:
            if passage is None:  # nothing is sent
                self._limits.give_back(most)

    async def _events(self, writing: Writing, aborted: asyncio.Event) -> AsyncGenerator[tuple[Event, bytes], None]:
        """The API's events, as values and as they came, until their end or the abort. The SDK's own reading has no
        bounds, so it only opens the stream.
        """
        opening = asyncio.ensure_future(self._api.opened(writing))
        if not await unless_aborted(opening, aborted):
            return  # the API may or may not have prefilled the prompt by now
        stream: Any = opening.result()
        self._limits.observe(stream.response.headers)
        read = EventStream(writing.max_tokens)
        try:
            async with aclosing(stream.response.aiter_raw()) as chunks:
                while not read.is_over:
                    receiving = asyncio.ensure_future(anext(chunks, None))
                    if not await unless_aborted(receiving, aborted) or (chunk := receiving.result()) is None:
                        return
                    for data in read.feed(chunk):
                        yield read_event(self._api.event, data), data
                await _drain(chunks)
        except BadStream as error:
            raise ApiBadReply(f"the API's reply cannot be read: {error}") from error
        finally:
            await stream.close()

    def _explained(self, error: Exception, passage: Passage) -> Exception:
        """The error to raise, once the circuit knows of it."""
        explained = error if isinstance(error, EngineError) else explain(error, self._api.errors)
        match explained:
            case None:
                return error
            case ApiUnavailable() | ApiBadReply():
                self._circuit.failed(passage, was_reached=was_reached(error))
            case QueueFull():
                again = self._circuit.limited(explained.retry_after_s)
                explained.retry_after_s = None if explained.retry_after_s is None else again
            case _:
                self._circuit.succeeded(passage)  # it has answered: it refuses this request
        explained.args = (withheld(str(explained), *self._secrets),)
        return explained

    def _ended(self, reason: FinishReason, usage: TokenCounts, called: str = "") -> Finished:
        return self._counted(Finished(reason, usage, called, time.time()))

    def _note_model(self, answering: str) -> None:
        """The API says which model answers: an alias may come to mean another one, at another price and quality."""
        if answering and answering != self._revision:
            if self._revision:
                asked = self._settings.asked
                logger.warning("the API answers %r with %r now, no longer with %r", asked, answering, self._revision)
            self._revision = answering


async def _drain(chunks: AsyncGenerator[bytes, None]) -> None:
    """Behind the last event: a connection that is read to its end is used again. Whatever fails here, the reply is
    whole.
    """
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                await asyncio.sleep(0)  # a flood that is there already would not let the time run out


def settings_from(arguments: dict[str, Any]) -> ApiSettings:
    """From the arguments of services.models.engine.registry. Raises SetupError where the key's place is empty."""
    settings, api = from_arguments(ApiSettings, arguments), arguments.get("api")
    if api is None:
        return settings
    return replace(
        settings,
        base_url=api.url,
        api_key=endpoint_key(api) or "none",
        model=api.model,
        can=api.can,
        limits=api.limits,
        cache_marks=api.cache_marks,
    )
