"""One model in one role of a request: take the stream over, resume, run, finish. Insight and answer differ in their
prompts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

from services.models.engine.api import CacheUse, RunningModel
from services.models.engine.text import SpokenText
from services.models.engine.token_writer import writer_of
from services.models.engine.writer import Writing
from services.models.generation.attempt_log import AttemptLog, Splitter, UnloggedAttempt
from services.models.generation.attempts import RunningAttempts
from services.models.generation.earlier_text import EarlierText
from services.models.generation.journal import Attempt, Journal
from services.models.generation.late_writes import LateWrites, TextId
from services.models.generation.logged_generation import LoggedGeneration
from services.models.generation.pending_deltas import PendingDeltas
from services.shared.observability.spans import OWN, Inference, report_discarded
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.streams import Closing, Resumption
from services.shared.request_log.transcript import Transcript
from tandem.method.conversation import Message
from tandem.method.errors import Unavailable
from tandem.method.evidence.begun_answer import Begun
from tandem.method.request.job import Step
from tandem.method.request.prompts import Conversation
from tandem.method.request.request import SolveRequest
from tandem.method.request.tasks import GenerationOutcome
from tandem.method.tokens import TokenCounts
from tandem.method.tools import ToolCall, call_id

_NOTHING = TokenCounts()


@dataclass(frozen=True, slots=True)
class GenerationStarted:
    """The attempt began from `at`, where the log says that an earlier one was. Not `is_logged`: the log does not
    answer.
    """

    at: Resumption
    is_logged: bool


@dataclass(frozen=True, slots=True)
class StageWritten:
    stage: int
    tokens: int


GenerationEvent = GenerationStarted | StageWritten | Begun | GenerationOutcome


@dataclass(frozen=True, slots=True)
class RoleWork:
    """What a role writes, as if no earlier attempt had written any of it, and what becomes of its tokens."""

    writing: Writing
    splitter: Splitter
    continued_from: str = ""  # the insight that an answer goes on from


def writing_of(request: SolveRequest, step: Step, conversation: Conversation) -> Writing:
    """What a step writes in a conversation, before anything holds its text to a form."""
    return Writing(
        f"{step.request_id}/{step.role}/{step.epoch}",
        conversation,
        max_tokens=step.max_tokens[-1],
        sampling=request.sampling,
        tools=request.tools,
        cache=cache_use(request),
        vendors_tools=tuple(step.prices.fees),
    )


class RoleGenerator:
    """`keep` says what a resumed attempt keeps of an earlier one: its finished stages, or every logged token.
    `journal`: of this role; where a process was killed in this one's place, it is made in an event loop, and reports to
    the log what that one had generated.
    `model_role`: of the model, for traces; both small models write answers.
    """

    def __init__(
        self,
        engine: RunningModel,
        log: RequestLog,
        role: Role,
        keep: Literal["stage", "token"],
        journal: Journal | None = None,
        model_role: str | None = None,
    ) -> None:
        self._engine, self._writer = engine, writer_of(engine)
        self._log, self._role, self._keep = log, role, keep
        self._model_role = model_role or ("llm" if role is Role.INSIGHT else "slm")
        self.running = RunningAttempts(log, role)
        self._late, self._journal = LateWrites(), journal or Journal()
        self._report_unfinished()

    def _report_unfinished(self) -> None:
        """To the log: what a killed process had generated. An attempt that begins such a text again waits for that."""
        for left in self._journal.unfinished():
            attempt = left.attempt
            begun = (attempt.request_id, self._role, attempt.epoch)
            closing = Closing("aborted", left.prompt, left.generated, is_on_span=False)
            write = partial(self._log.streams.close, *begun, closing)
            self._late.add(TextId(attempt.request_id, attempt.trial), write, TokenCounts())

    async def begin(self, step: Step, *, may_run_unlogged: bool = False) -> AttemptLog | UnloggedAttempt:
        """Take the role's stream over. Raises Fenced, and Unavailable unless the work `may_run_unlogged`."""
        text = TextId(step.request_id, step.trial)
        begin = partial(
            self._log.streams.begin, *(step.request_id, self._role, step.epoch, self._keep, step.trial), uuid4().hex
        )
        await self._late.settle(text)
        try:
            own = AttemptLog(begin, await begin())
            await self._late.settle(text)  # this attempt gets, at its end, what the log took only now
            return own
        except Unavailable:
            if not may_run_unlogged:
                raise
            return UnloggedAttempt(begin, await self._readable_counts(step) + self._late.owed(text))

    async def _readable_counts(self, step: Step) -> TokenCounts:
        """A Redis that takes no writes may still be read."""
        try:
            return await self._log.ledger.counts(step.request_id, self._role, step.trial)
        except Unavailable:
            return TokenCounts()

    async def run(
        self, step: Step, own: AttemptLog | UnloggedAttempt, work: RoleWork
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Resume where the log stands, report each stage, end with the outcome. Closing the generator aborts the
        engine.

        Raises Fenced, Unavailable and EngineError.
        """
        resumed = own.resumption
        report_discarded(self._inference(step, resumed.previous_epoch), resumed.unreported)
        yield GenerationStarted(resumed, own.is_logged)
        logged = await self._log.streams.read(step.request_id, self._role) if resumed.tokens else Transcript()
        before = self._earlier(logged, work.writing)
        if reason := before.reason_of_end(step.max_tokens[-1]):
            outcome = self._finished_before(step, reason, before, resumed, work)
            yield replace(
                outcome, counts=self._as_known(outcome.counts), message=self._message(step, work.writing, outcome.text)
            )
            return
        generation = self._generation(step, own, work, before)
        with self.running.track(step.request_id, step.epoch, generation):
            async with aclosing(generation.stages()) as stages:
                last = Begun()
                async for stage in stages:
                    if stage:
                        yield StageWritten(stage, resumed.tokens + own.tokens)
                    elif (begun := self._begun(work.writing, before.written.text + generation.so_far)) != last:
                        last = begun
                        yield begun
        result = generation.result
        assert result is not None
        text = before.written.text + own.text
        yield GenerationOutcome(
            reason=result.reason,
            text=text,
            counts=self._as_known(result.counts, result.own),
            finished_at=result.finished_at,
            first_token_at=result.first_token_at,
            attempt=step.epoch,
            is_logged=own.is_logged,
            continued_from=work.continued_from,
            prompt=prompt_of(result.own, resumed.tokens),
            message=self._message(step, work.writing, text),
        )

    def _begun(self, writing: Writing, text: str) -> Begun:
        """Of calls and JSON, what is known of them before their end."""
        if writing.may_call:
            return Begun(tuple(self._writer.calls.read_begun(text, writing.tools.schemas)) or "")
        return Begun(text) if writing.json_schema else Begun()

    def _earlier(self, logged: Transcript, writing: Writing) -> EarlierText:
        has_held = writing.stop_strings and logged.ids
        texts = self._writer.texts(writing.conversation, logged.ids) if has_held else ()
        return EarlierText(logged, texts, writing.stop_strings)

    def _finished_before(
        self, step: Step, reason: str, before: EarlierText, resumed: Resumption, work: RoleWork
    ) -> GenerationOutcome:
        """The outcome of a text that an earlier attempt ended, for `reason`, without living to report it."""
        read = min(resumed.earlier.prompt, self._writer.num_tokens(work.writing.conversation))
        return GenerationOutcome(
            reason=reason,
            text=before.whole,
            counts=resumed.earlier,
            finished_at=time.time(),
            first_token_at=None,
            attempt=step.epoch,
            continued_from=work.continued_from,
            prompt=TokenCounts(prompt=read),  # no log keeps what was cached
        )

    def _as_known(self, counts: TokenCounts, own: TokenCounts = _NOTHING) -> TokenCounts:
        """Of an API, what any other attempt than the `own` one has read is an estimate: one that was lost has no
        usage.
        """
        is_guess = not self._writer.can.exact_usage and counts.computed > own.computed
        return replace(counts, is_estimated=counts.is_estimated or is_guess)

    def _message(self, step: Step, writing: Writing, text: str) -> Message | None:
        """What a text says and calls; None where it could not call."""
        if not writing.may_call:
            return None
        said, calls = self._writer.calls.read(text, writing.tools.schemas)
        numbered = (ToolCall(call_id(step.request_id, n), *call) for n, call in enumerate(calls))
        return Message("assistant", said, tuple(numbered))

    def _generation(
        self, step: Step, own: AttemptLog | UnloggedAttempt, work: RoleWork, before: EarlierText
    ) -> LoggedGeneration:
        page = self._journal.begin(Attempt(step.request_id, step.epoch, step.trial))
        pending = PendingDeltas(work.splitter)
        writing = replace(
            work.writing,
            max_tokens=work.writing.max_tokens - len(before.written.ids),
            earlier=before.written,
            on_sent=lambda tokens: page.count(tokens, 0),
            on_event=pending.pass_on,
        )
        return LoggedGeneration(
            log=own,
            items=self._writer.write(writing),
            abort=lambda: self._writer.abort(writing.id),
            pending=pending,
            inference=self._inference(step, step.epoch),
            close_later=partial(self._late.add, TextId(step.request_id, step.trial)),
            page=page,
            spoken=SpokenText(self._writer.calls, before.written.text) if writing.may_call else None,
            is_watched=step.is_compared,
        )

    def _inference(self, step: Step, epoch: int) -> Inference:
        info = self._engine.info
        at = urlsplit(info.address)
        role, where = self._model_role, (at.hostname or "", at.port)
        return Inference(info.name, role, step.request_id, epoch, step.prices, info.provider or OWN, where)


def prompt_of(own: TokenCounts, kept: int) -> TokenCounts:
    """The prompt as this attempt read it, without the `kept` tokens of earlier attempts' text that it read behind
    it.
    """
    tokens = max(0, own.read - kept)
    cached = min(own.cached, tokens)
    prompt = tokens - cached
    hour = min(own.written_hour, prompt)
    return TokenCounts(prompt=prompt, cached=cached, written=min(own.written, prompt - hour), written_hour=hour)


def cache_use(request: SolveRequest) -> CacheUse:
    """The owner is the tenant, which the id of a request begins with where callers are known."""
    return CacheUse(request.request_id.rpartition("/")[0], is_kept=request.task == "chat")
