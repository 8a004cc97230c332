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
from tandem.method.evidence.begun_answer import Begun, agreed, may_agree, needless
from tandem.method.evidence.checks import AGREEMENT, CheckResult, TrialPlan, Verdict
from tandem.method.evidence.doubt import doubt
from tandem.method.evidence.same_answer import AnswerKind, answer_kind
from tandem.method.request.events import Checked
from tandem.method.request.job import Job, Step
from tandem.method.request.request import SolveRequest
from tandem.method.request.tasks import AgreementOutcome, Asked, GenerationOutcome
from tandem.method.roles import title
from tandem.method.tokens import TokenCounts
from tandem.method.tools import Call, named
from workflows.activities.attempts import worker_is_draining
from workflows.activities.jobs import current_job
from workflows.activities.model_call import Place
from workflows.activities.models import AnswerActivities
from workflows.activities.usage import EarlierUsage, earlier_usage

_ABORT_AGAIN_SECONDS = 0.05  # a model may have the request only after the first abort


class AgreementActivities:
    def __init__(self, answers: AnswerActivities, log: RequestLog) -> None:
        self._answers, self._log = answers, log

    @activity.defn
    async def agree(self, steps: list[Step], trial: TrialPlan) -> AgreementOutcome:
        """Ask the models; a cancel returns what they have generated, exactly, and so does the end of their
        agreement. Each writes to a log of its own, and `trial.agree` of them are to say the same; 0: each writes to
        its end.
        """
        race = _Race(self._answers, await current_job(), steps, trial)
        asked = await race.run()
        outcome = AgreementOutcome(asked, *race.verdict(asked), race.first_calls)
        first, *others = steps
        with contextlib.suppress(TandemError):  # readers who miss it see it in the result
            await self._log.decisions.publish(first.request_id, AGREED_SLOT, Checked(**vars(outcome.check)))
            for each in others:
                await self._log.expire_soon(each.request_id)
        return outcome


class _Race:
    """The models of one request while they write."""

    def __init__(self, answers: AnswerActivities, job: Job, steps: Sequence[Step], trial: TrialPlan) -> None:
        self._answers, self._job, self._steps, self._trial = answers, job, steps, trial
        self._kind = compared_as(job.request)
        self._begun: list[Begun | None] = [Begun()] * len(steps)
        self._due = [asyncio.Event() for _ in steps]
        self._running: list[asyncio.Task[Asked]] = []
        self._aborting: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> list[Asked]:
        earlier = earlier_usage(*(step.used_before for step in self._steps))
        for due in self._due[: self._trial.at_once or None]:
            due.set()
        self._running = [asyncio.create_task(self._ask(number, earlier)) for number in range(len(self._steps))]
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
            self._cancelled(number) if each.cancelled() else each.result() for number, each in enumerate(self._running)
        ]

    def _cancelled(self, number: int) -> Asked:
        was_asked = self._due[number].is_set()
        return Asked(self._steps[number].role, failure="it was cancelled" if was_asked else "", was_asked=was_asked)

    async def _ask(self, number: int, earlier: Sequence[EarlierUsage]) -> Asked:
        await self._due[number].wait()
        step = self._steps[number]
        try:
            outcome = await self._answers.answer(self._job, step, Place(earlier, number, partial(self._see, number)))
        except ApplicationError as error:
            self._see(number, None)
            counts = next((each for each in error.details if isinstance(each, TokenCounts)), TokenCounts())
            return Asked(step.role, failure=error.message, reported=counts)
        self._see(
            number,
            Begun(answer_of(self._kind, outcome, self._job.plan.answer_format), is_over=True)
            if outcome.reason == "eos"
            else None,
        )
        return Asked(step.role, outcome)

    def _see(self, number: int, begun: Begun | None) -> None:
        """Stop whoever is not needed any more, and ask the next one where those who are asked do not decide."""
        self._begun[number] = begun
        for at in needless(self._kind, self._begun, self._trial.agree):
            if not self._due[at].is_set():
                self._running[at].cancel()
            elif at not in self._aborting:
                self._aborting[at] = asyncio.create_task(self._abort(at))
        asked = [each if due.is_set() else None for each, due in zip(self._begun, self._due, strict=True)]
        waiting = [each for each in self._due if not each.is_set()]
        if waiting and not may_agree(self._kind, asked, self._trial.agree):
            waiting[0].set()

    async def _abort(self, number: int) -> None:
        while not self._running[number].done():
            await self._answers.abort(self._steps[number])
            await asyncio.sleep(_ABORT_AGAIN_SECONDS)

    @property
    def first_calls(self) -> bool | None:
        first = self._begun[0]
        if self._kind.form != "calls" or first is None:
            return None
        return True if first.answer else False if first.is_over else None

    def verdict(self, asked: Sequence[Asked]) -> tuple[int | None, CheckResult]:
        """Which answer is taken, and why."""
        taken = agreed(self._kind, self._begun, self._trial.agree)
        asked = [each for each in asked if each.was_asked]
        names = " and ".join(f"the {title(each.role)} model" for each in asked)
        found, detail = Verdict.FAIL, f"{names} differ"
        if any(each.outcome is None or each.outcome.late_after or each.outcome.reason == "length" for each in asked):
            found, detail = Verdict.UNKNOWN, f"fewer than {self._trial.agree} of {names} have answered"
        if taken is not None:
            found, detail = Verdict.PASS, f"{names} agree"
            if why := self._doubt(asked[0].outcome, asked[taken].outcome):
                taken, found, detail = None, Verdict.FAIL, why
        role = asked[taken or 0].role
        return taken, CheckResult(
            AGREEMENT, 0, role, found, detail, float(found is Verdict.PASS), trial=1 + (taken or 0)
        )

    def _doubt(self, first: GenerationOutcome | None, outcome: GenerationOutcome | None) -> str:
        """Why what they say alike is not taken; empty: it is."""
        if outcome is None or self._kind.form != "calls":
            return ""
        calls, history = calls_of(outcome), self._job.request.history
        if self._trial.as_first and (first is None or bool(calls_of(first)) != bool(calls)):
            return "the first of them tells another kind of request"
        if calls and not self._trial.takes_calls:
            return "only an answer without a call is taken"
        if not calls and not self._trial.takes_no_call:
            return "none of them calls a tool"
        takes_later = self._trial.takes_no_call_later
        return doubt(calls, history, outcome.text, self._kind.tools, takes_no_call_later=takes_later)


def calls_of(outcome: GenerationOutcome) -> tuple[Call, ...]:
    """Name and arguments of each call."""
    return named(outcome.message.calls) if outcome.message else ()


def answer_of(kind: AnswerKind, outcome: GenerationOutcome, answer_format: str) -> str | tuple[Call, ...]:
    """What is compared with the other models' answers."""
    if kind.form == "calls":
        return calls_of(outcome)
    return final_answer(outcome.text, answer_format, outcome.continued_from)


def compared_as(request: SolveRequest) -> AnswerKind:
    """By what answers to the request are the same."""
    kind = answer_kind(request.kind, request.tools.tools, request.json_schema)
    return replace(kind, is_single=not request.tools.parallel)
