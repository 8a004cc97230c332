"""Small models that are asked together: what they say alike is taken, else the large model answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.evidence.checks import Trial, Verdict
    from tandem.method.names import beside_id
    from tandem.method.request.job import Step
    from tandem.method.request.result import Stop, StopReason
    from tandem.method.request.tasks import AgreementOutcome, Asked, GenerationOutcome
    from tandem.method.roles import title
    from workflows.activities.agreement import AgreementActivities
    from workflows.calls import ActivityCalls, cause_of
    from workflows.checked_answers import CheckedAnswers
    from workflows.large_model import LargeModel
    from workflows.request_state import RequestState
    from workflows.small_model import RETRY_TRIAL, SmallModel


class AgreementTrial:
    """`outcome`: the answer that is taken, else the first that ended by itself, for where the large model has none."""

    def __init__(
        self,
        state: RequestState,
        calls: ActivityCalls,
        slm: SmallModel,
        llm: LargeModel,
        answers: CheckedAnswers,
        is_affordable: bool,
    ) -> None:
        self._state, self._calls, self._slm, self._llm, self._answers = state, calls, slm, llm, answers
        self._roles = state.plan.trial.order if state.plan.trial.agree and is_affordable else []
        self.outcome: GenerationOutcome | None = None

    async def run(self) -> Stop | None:
        """Let all answer. Returns the stop where enough of them say the same."""
        if not self._roles or self._state.is_cancelled:
            return None
        asking = asyncio.create_task(self._ask())
        if self._llm.handle is not None:
            await workflow.wait([asking, self._llm.handle], return_when=asyncio.FIRST_COMPLETED)
            if not asking.done() and self._llm.has_answered:
                await self._calls.publish_stop(workflow.now(), answer=True)
        found = await asking
        if found is None or self._state.is_cancelled:
            return None
        ended = [each.outcome for each in found.asked if each.outcome and each.outcome.reason == "eos"]
        self.outcome = found.asked[found.taken].outcome if found.taken is not None else next(iter(ended), None)
        if found.taken is None or await self._fails_checks(found.taken) or self._state.is_cancelled:
            return None
        self._state.decided_at = workflow.now()
        return Stop(0, StopReason.VERIFIED)

    async def _ask(self) -> AgreementOutcome | None:
        trial = self._state.plan.trial
        own = [self._slm.trial_step(role, 0, number) for number, role in enumerate(self._roles, 1)]
        steps = asked_together(own, own[0].request_id)
        try:
            asking = self._calls.start(AgreementActivities.agree, steps, trial, retry_policy=RETRY_TRIAL)
            found: AgreementOutcome = await asking
        except ActivityError as error:
            for each in steps:
                await self._record(each, Asked(each.role), Verdict.UNKNOWN)
            if not is_cancelled_exception(error):
                self._state.notes.append(f"the small models were not asked together: {cause_of(error)}")
            return None
        for each, asked in zip(steps, found.asked, strict=True):
            await self._record(each, asked, found.check.verdict)
        self._state.checks.append(found.check)
        return found

    async def _record(self, step: Step, asked: Asked, verdict: Verdict) -> None:
        """Each is paid, whatever it came to."""
        if asked.failure:
            self._state.notes.append(f"the {title(asked.role)} model did not answer: {asked.failure}")
        if asked.outcome is None:
            counts = await self._calls.settled(asked.reported, asked.role, step.trial, step.request_id)
        else:
            self._slm.see_prompt(step, asked.outcome)
            self._state.note_late(asked.role, asked.outcome)
            counts = asked.outcome.counts
        usd = step.prices.usd(counts)
        self._state.trials.append(Trial(step.trial, 0, False, verdict, counts, usd, 0.0, asked.role))

    async def _fails_checks(self, taken: int) -> bool:
        """What the caller knows of the answer stands above what two models say."""
        if not self._state.input.checks or self.outcome is None:
            return False
        return (await self._answers.check_trial(self.outcome, 0, taken + 1)).verdict is Verdict.FAIL


def asked_together(steps: Sequence[Step], request_id: str) -> list[Step]:
    """A log has one writer: the first model's is that of `request_id`."""
    return [
        replace(each, is_compared=True, request_id=beside_id(request_id, each.role) if number else request_id)
        for number, each in enumerate(steps)
    ]
