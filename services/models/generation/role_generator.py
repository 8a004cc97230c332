"""One model in one role of a request: take the stream over, resume, run, finish. Insight and answer differ in their prompts."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal
from urllib.parse import urlsplit
from uuid import uuid4

from services.models.engine.api import Engine, GenerationRequest, Tokenizer
from services.models.engine.text import Detokenizer, SpokenText, StopStrings
from services.models.engine.tool_grammar import tool_grammar
from services.models.generation.attempt_log import AttemptLog, Splitter, UnloggedAttempt
from services.models.generation.attempts import RunningAttempts
from services.models.generation.journal import Attempt, Journal
from services.models.generation.late_writes import LateWrites, TextId
from services.models.generation.logged_generation import EngineStream, LoggedGeneration
from services.shared.observability.spans import OWN, Inference, report_discarded
from services.shared.request_log.connection import Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.streams import Closing, Resumption
from services.shared.request_log.transcript import Transcript
from tandem.method.conversation import Message
from tandem.method.errors import Unavailable
from tandem.method.evidence.call_evidence import Token, Written, doubt
from tandem.method.evidence.call_scorer import CallScorer, GeometricMean
from tandem.method.request.tasks import Certainty, GenerationOutcome, ModelTask
from tandem.method.tokens import TokenCounts
from tandem.method.tools import ToolCall, call_id

_NOTHING = TokenCounts()


@dataclass(frozen=True, slots=True)
class GenerationStarted:
    """The attempt began from `at`, where the log says that an earlier one was. Not `is_logged`: the log does not answer."""

    at: Resumption
    is_logged: bool


@dataclass(frozen=True, slots=True)
class StageWritten:
    stage: int
    tokens: int


GenerationEvent = GenerationStarted | StageWritten | GenerationOutcome


@dataclass(frozen=True, slots=True)
class RoleWork:
    """What a role writes: after which prompt, cut how. `continued_from` is the insight that an answer goes on from.

    Under `json_schema` the last `num_continued` tokens of the prompt are the beginning of the text. `stop_strings` end it. With
    `may_call` it is a text, calls of the task's tools, or both; `scorer` says how sure it was of that. The first `num_shared` tokens of
    the prompt are those of other conversations too.
    """

    prompt_ids: tuple[int, ...]
    splitter: Splitter
    continued_from: str = ""
    json_schema: str = ""
    num_continued: int = 0
    stop_strings: tuple[str, ...] = ()
    may_call: bool = False
    num_shared: int = 0
    scorer: CallScorer = field(default_factory=GeometricMean)


class EarlierText:
    """What the request log has of a text that earlier attempts began, after `prompt_ids`.

    The text of the logged tokens may be more than the logged text: the rest is `held` back as the possible beginning of a stop string.
    """

    def __init__(
        self, logged: Transcript, tokenizer: Tokenizer, prompt_ids: tuple[int, ...], stop_strings: tuple[str, ...]
    ) -> None:
        self._logged, self.ids, self.text = logged, logged.ids, logged.text
        self._stops, self._decided = StopStrings(stop_strings), ""
        if stop_strings:
            detokenizer = Detokenizer(tokenizer, prompt_ids)
            self._decided = "".join(self._stops.push(detokenizer.push(token)) for token in self.ids)

    @property
    def held(self) -> str:
        return self._stops.held

    @property
    def whole(self) -> str:
        """All of it, where nothing follows."""
        is_in_log = self._logged.is_complete or not self._decided + self.held
        return self.text if is_in_log else self._decided + self.held

    def reason_of_end(self, max_tokens: int) -> str:
        """How an earlier attempt ended it without living to report that; empty: it goes on."""
        if self._logged.is_complete or self._logged.tokens >= max_tokens:
            return self._logged.end.reason if self._logged.end else "length"
        return "eos" if self._stops.has_matched else ""


class RoleGenerator:
    """`keep` says what a resumed attempt keeps of an earlier one: its finished stages, or every logged token. `journal`: of this role;
    where a process was killed in this one's place, it is made in an event loop, and reports to the log what that one had generated.
    `model_role`: of the model, for traces; both small models write answers.
    """

    def __init__(
        self,
        engine: Engine,
        log: RequestLog,
        role: Role,
        keep: Literal["stage", "token"],
        journal: Journal | None = None,
        model_role: str | None = None,
    ) -> None:
        self._engine, self._log, self._role, self._keep = engine, log, role, keep
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

    async def begin(self, task: ModelTask, *, may_run_unlogged: bool = False) -> AttemptLog | UnloggedAttempt:
        """Take the role's stream over. Raises Fenced, and Unavailable unless the work `may_run_unlogged`."""
        text = TextId(task.request_id, task.trial)
        begin = partial(
            self._log.streams.begin, *(task.request_id, self._role, task.epoch, self._keep, task.trial), uuid4().hex
        )
        await self._late.settle(text)
        try:
            own = AttemptLog(begin, await begin())
            await self._late.settle(text)  # this attempt gets, at its end, what the log took only now
            return own
        except Unavailable:
            if not may_run_unlogged:
                raise
            return UnloggedAttempt(begin, await self._readable_counts(task) + self._late.owed(text))

    async def _readable_counts(self, task: ModelTask) -> TokenCounts:
        """A Redis that takes no writes may still be read."""
        try:
            return await self._log.ledger.counts(task.request_id, self._role, task.trial)
        except Unavailable:
            return TokenCounts()

    async def run(
        self, task: ModelTask, own: AttemptLog | UnloggedAttempt, work: RoleWork
    ) -> AsyncGenerator[GenerationEvent, None]:
        """Resume where the log stands, report each stage, end with the outcome. Closing the generator aborts the engine.

        Raises Fenced, Unavailable and EngineError.
        """
        resumed = own.resumption
        report_discarded(self._inference(task, resumed.previous_epoch), resumed.unreported)
        yield GenerationStarted(resumed, own.is_logged)
        logged = await self._log.streams.read(task.request_id, self._role) if resumed.tokens else Transcript()
        before = EarlierText(logged, self._engine.tokenizer, work.prompt_ids, work.stop_strings)
        if reason := before.reason_of_end(task.max_tokens[-1]):
            outcome = _finished_before(task, reason, before, resumed, work)
            yield replace(
                outcome, counts=self._as_known(outcome.counts), message=self._message(task, work, outcome.text)
            )
            return
        generation = self._generation(task, own, work, before)
        with self.running.track(task.request_id, task.epoch, generation):
            async with aclosing(generation.stages()) as stages:
                async for stage in stages:
                    yield StageWritten(stage, resumed.tokens + own.tokens)
        result = generation.result
        assert result is not None
        text = before.text + own.text
        message, written = self._message(task, work, text), [] if resumed.tokens else generation.written
        yield GenerationOutcome(
            reason=result.reason,
            text=text,
            counts=self._as_known(result.counts, result.own),
            finished_at=result.finished_at,
            first_token_at=result.first_token_at,
            attempt=task.epoch,
            is_logged=own.is_logged,
            continued_from=work.continued_from,
            prompt=prompt_of(result.own, resumed.tokens),
            message=message,
            certainty=_certainty(work.scorer, written, message, task),
        )

    def _as_known(self, counts: TokenCounts, own: TokenCounts = _NOTHING) -> TokenCounts:
        """Of an API, what any other attempt than the `own` one has read is an estimate: one that was lost has no usage."""
        is_guess = bool(self._engine.info.provider) and counts.computed > own.computed
        return replace(counts, is_estimated=counts.is_estimated or is_guess)

    def _message(self, task: ModelTask, work: RoleWork, text: str) -> Message | None:
        """What a text says and calls; None where it could not call."""
        if not work.may_call:
            return None
        said, calls = self._engine.tokenizer.calls.read(text, task.tools.schemas)
        numbered = (ToolCall(call_id(task.request_id, n), *call) for n, call in enumerate(calls))
        return Message("assistant", said, tuple(numbered))

    def _generation(
        self, task: ModelTask, own: AttemptLog | UnloggedAttempt, work: RoleWork, before: EarlierText
    ) -> LoggedGeneration:
        key = f"{task.request_id}/{self._role}/{task.epoch}"
        page = self._journal.begin(Attempt(task.request_id, task.epoch, task.trial))
        ids = work.prompt_ids + before.ids
        request = GenerationRequest(
            request_id=key,
            prompt_ids=ids,
            max_new_tokens=task.max_tokens[-1] - len(before.ids),
            sampling=task.sampling,
            json_schema=work.json_schema,
            num_written=work.num_continued + len(before.ids),
            stop_strings=work.stop_strings,
            held=before.held,
            owner=owner_of(task),
            is_kept=task.task == "chat",
            num_shared=work.num_shared,
            grammar=tool_grammar(self._engine.tokenizer.calls, task.tools, task.json_schema) if work.may_call else None,
            tools=task.tools,
            wants_logprobs=work.may_call,
            on_sent=lambda tokens: page.count(tokens, 0),
        )
        return LoggedGeneration(
            log=own,
            engine=EngineStream(self._engine.generate(request), lambda: self._engine.abort(key), len(ids)),
            splitter=work.splitter,
            inference=self._inference(task, task.epoch),
            close_later=partial(self._late.add, TextId(task.request_id, task.trial)),
            page=page,
            spoken=SpokenText(self._engine.tokenizer.calls, before.text) if work.may_call else None,
        )

    def _inference(self, task: ModelTask, epoch: int) -> Inference:
        info = self._engine.info
        at = urlsplit(info.address)
        return Inference(
            info.name, self._model_role, task.request_id, epoch, task.prices, info.provider or OWN,
            (at.hostname or "", at.port),
        )  # fmt: skip


def prompt_of(own: TokenCounts, kept: int) -> TokenCounts:
    """The prompt as this attempt read it, without the `kept` tokens of earlier attempts' text that it read behind it."""
    tokens = max(0, own.read - kept)
    cached = min(own.cached, tokens)
    return TokenCounts(prompt=tokens - cached, cached=cached)


def owner_of(task: ModelTask) -> str:
    """Whose text it is: the tenant, which the id of a request begins with where callers are known; empty where they are not."""
    return task.request_id.rpartition("/")[0]


def _finished_before(
    task: ModelTask, reason: str, before: EarlierText, resumed: Resumption, work: RoleWork
) -> GenerationOutcome:
    """The outcome of a text that an earlier attempt ended, for `reason`, without living to report it."""
    return GenerationOutcome(
        reason=reason,
        text=before.whole,
        counts=resumed.earlier,
        finished_at=time.time(),
        first_token_at=None,
        attempt=task.epoch,
        continued_from=work.continued_from,
        prompt=TokenCounts(prompt=min(resumed.earlier.prompt, len(work.prompt_ids))),  # no log keeps what was cached
    )


def _certainty(
    scorer: CallScorer, tokens: Sequence[Token], message: Message | None, task: ModelTask
) -> Certainty | None:
    """Of the answer `message`, which was written as `tokens`; None without them."""
    if not tokens:
        return None
    chances = [chance for _, chance in tokens]
    plain = Certainty(sum(chances) / len(chances), min(chances), len(chances), scorer.name, scorer.trained)
    if message is None:
        return plain
    calls = [(call.name, call.arguments) for call in message.calls]
    said = [*(each.text for each in task.history if each.speaker != "assistant"), task.question]
    scored = scorer.score(Written(tokens, calls), task.tools.tools, said) if scorer.trained else None
    return replace(plain, scored=scored, doubt=doubt(calls, task.history))
