"""Small models that are asked at the same moment, and stopped where their answers can no longer be the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from temporalio import activity
from temporalio.exceptions import ApplicationError

from services.shared.request_log.decisions import AGREED_SLOT
from services.shared.request_log.log import RequestLog
from tandem.method.answer import final_answer
from tandem.method.errors import TandemError
from tandem.method.evidence.begun_answer import Begun, agreed, needless
from tandem.method.evidence.checks import AGREEMENT, CheckResult, Verdict
from tandem.method.evidence.doubt import doubt
from tandem.method.evidence.same_answer import AnswerKind, answer_kind
from tandem.method.request.events import Checked
from tandem.method.request.tasks import AgreementOutcome, AgreementTask, Asked, GenerationOutcome, ModelTask
from tandem.method.roles import title
from tandem.method.tokens import TokenCounts
from tandem.method.tools import Call, named
from workflows.activities.attempts import worker_is_draining
from workflows.activities.model_call import Place
from workflows.activities.models import AnswerActivities
from workflows.activities.usage import AttemptUsage

_ABORT_AGAIN_SECONDS = 0.05  # a model may have the request only after the first abort


class AgreementActivities:
    def __init__(self, answers: AnswerActivities, log: RequestLog) -> None:
        self._answers, self._log = answers, log

    @activity.defn
    async def agree(self, task: AgreementTask) -> AgreementOutcome:
        """Ask all models; a cancel returns what they have generated, exactly, and so does the end of their
        agreement.
        """
        race = _Race(self._answers, task)
        asked = await race.run()
        outcome = AgreementOutcome(asked, *race.verdict(asked))
        first, *others = task.tasks
        with contextlib.suppress(TandemError):  # readers who miss it see it in the result
            await self._log.decisions.publish(first.request_id, AGREED_SLOT, Checked(**vars(outcome.check)))
            for each in others:
                await self._log.expire_soon(each.request_id)
        return outcome


class _Race:
    """The models of one request while they write."""

    def __init__(self, answers: AnswerActivities, task: AgreementTask) -> None:
        self._answers, self._task = answers, task
        self._kind = compared_as(task.tasks[0])
        self._begun: list[Begun | None] = [Begun()] * len(task.tasks)
        self._running: list[asyncio.Task[Asked]] = []
        self._aborting: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> list[Asked]:
        usage = AttemptUsage.of_attempt(*(task.used_before for task in self._task.tasks))
        self._running = [asyncio.create_task(self._ask(number, usage)) for number in range(len(self._task.tasks))]
        try:
            await asyncio.wait(self._running)
        except asyncio.CancelledError:
            for each in self._running:
                each.cancel()
            if worker_is_draining():
                raise
            await asyncio.wait(self._running)
        finally:
            for abort in self._aborting.values():
                abort.cancel()
        return [
            Asked(task.role, failure="it was cancelled") if each.cancelled() else each.result()
            for task, each in zip(self._task.tasks, self._running, strict=True)
        ]

    async def _ask(self, number: int, usage: AttemptUsage) -> Asked:
        task = self._task.tasks[number]
        try:
            outcome = await self._answers.answer(task, Place(usage, number, partial(self._see, number)))
        except ApplicationError as error:
            self._see(number, None)
            counts = next((each for each in error.details if isinstance(each, TokenCounts)), TokenCounts())
            return Asked(task.role, failure=error.message, reported=counts)
        self._see(
            number, Begun(answer_of(self._kind, outcome, self._task), is_over=True) if outcome.reason == "eos" else None
        )
        return Asked(task.role, outcome)

    def _see(self, number: int, begun: Begun | None) -> None:
        """Stop whoever is not needed any more."""
        self._begun[number] = begun
        for at in needless(self._kind, self._begun, self._task.wanted):
            if at not in self._aborting:
                self._aborting[at] = asyncio.create_task(self._abort(at))

    async def _abort(self, number: int) -> None:
        while not self._running[number].done():
            await self._answers.abort(self._task.tasks[number])
            await asyncio.sleep(_ABORT_AGAIN_SECONDS)

    def verdict(self, asked: Sequence[Asked]) -> tuple[int | None, CheckResult]:
        """Which answer is taken, and why."""
        taken = agreed(self._kind, self._begun, self._task.wanted)
        names = " and ".join(f"the {title(each.role)} model" for each in asked)
        found, detail = Verdict.FAIL, f"{names} differ"
        if any(each.outcome is None or each.outcome.late_after or each.outcome.reason == "length" for each in asked):
            found, detail = Verdict.UNKNOWN, f"fewer than {self._task.wanted} of {names} have answered"
        if taken is not None:
            found, detail = Verdict.PASS, f"{names} agree"
            if why := self._doubt(asked[taken].outcome):
                taken, found, detail = None, Verdict.FAIL, why
        role = asked[taken or 0].role
        return taken, CheckResult(
            AGREEMENT, 0, role, found, detail, float(found is Verdict.PASS), trial=1 + (taken or 0)
        )

    def _doubt(self, outcome: GenerationOutcome | None) -> str:
        """Why what they say alike is not taken; empty: it is."""
        if outcome is None or self._kind.form != "calls":
            return ""
        calls, history = calls_of(outcome), self._task.tasks[0].history
        if not calls and not self._task.takes_no_call:
            return "none of them calls a tool"
        takes_later = self._task.takes_no_call_later
        return doubt(calls, history, outcome.text, self._kind.tools, takes_no_call_later=takes_later)


def calls_of(outcome: GenerationOutcome) -> tuple[Call, ...]:
    """Name and arguments of each call."""
    return named(outcome.message.calls) if outcome.message else ()


def answer_of(kind: AnswerKind, outcome: GenerationOutcome, task: AgreementTask) -> str | tuple[Call, ...]:
    """What is compared with the other models' answers."""
    if kind.form == "calls":
        return calls_of(outcome)
    return final_answer(outcome.text, task.answer_format, outcome.continued_from)


def compared_as(task: ModelTask) -> AnswerKind:
    """By what answers to the task are the same."""
    return replace(answer_kind(task.kind, task.tools.tools, task.json_schema), is_single=not task.tools.parallel)
