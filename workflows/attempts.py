"""What small models answer before the large model's answer is waited for, and what of it is taken.

An attempt asks the small models one by one, or at once. Judges say what is taken: checks of an answer, or that enough
of the answers are the same. However an answer is asked for and judged, it is recorded, billed and settled in one way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.evidence.checks import CheckResult, Repair, Trial, Verdict, failure
    from tandem.method.names import beside_id
    from tandem.method.request.job import Step
    from tandem.method.request.result import Stop, StopReason
    from tandem.method.request.tasks import AgreementOutcome, Asked, GenerationOutcome
    from tandem.method.roles import title
    from tandem.method.timeouts import Timeouts
    from tandem.method.tokens import TokenCounts
    from workflows.activities.agreement import AgreementActivities
    from workflows.activities.models import AnswerActivities
    from workflows.calls import ActivityCalls, cause_of, detail_of
    from workflows.checked_answers import CheckedAnswer, CheckedAnswers
    from workflows.request_state import RequestState
    from workflows.small_model import SmallModel

# Without an attempt the request goes on, so it does not wait for a service that is away.
_RETRY = RetryPolicy(initial_interval=Timeouts.retry_interval, backoff_coefficient=2.0, maximum_attempts=3)


class Attempts:
    """`are_affordable`: the budget pays for them, whatever else happens. `agreed`: the answer that enough models gave,
    else the first that ended by itself, for where the large model has none. `whole`: answers that ended by themselves,
    by role. `first_calls`: see AgreementOutcome.
    """

    def __init__(
        self, state: RequestState, calls: ActivityCalls, slm: SmallModel, answers: CheckedAnswers, are_affordable: bool
    ) -> None:
        self._state, self._calls, self._slm, self._answers = state, calls, slm, answers
        self._plan, self._are_affordable = state.plan.trial, are_affordable
        self._is_over = False
        self.agreed: GenerationOutcome | None = None
        self.whole: dict[str, GenerationOutcome] = {}
        self.first_calls: bool | None = None

    def are_due(self, stage: int) -> bool:
        if not self._are_affordable or self._state.is_cancelled:
            return False
        return stage == 0 if self._plan.agree else bool(self._state.input.checks) and stage in self._plan.stages

    @property
    def end_the_request(self) -> bool:
        """They failed, and the question is too long for the large model to be asked as well."""
        longest = self._plan.escalate_max_tokens
        return bool(longest and self._state.input.question_tokens > longest and self._answers.have_failed_at(0))

    async def run(self, stage: int) -> Stop | None:
        """Let the small models answer from `stage`. Returns the stop where an answer is taken."""
        is_taken = await self._together() if self._plan.agree else await self._in_turn(stage)
        if not is_taken or self._state.is_cancelled:
            return None
        self._state.decided_at = workflow.now()
        return Stop(stage, StopReason.VERIFIED)

    async def end(self) -> None:
        """Stop what runs: the large model has answered."""
        self._is_over = True
        if self._plan.agree:
            await self._calls.publish_stop(workflow.now(), answer=True)
        else:
            await self._calls.publish_stop_of_trial(workflow.now(), len(self._state.trials) + 1)

    async def _in_turn(self, stage: int) -> bool:
        """Each model tries where those before it did not pass."""
        for role in self._plan.order:
            if not self._may_pass(role):
                return False
            tried = await self._try_and_repair(role, stage)
            if self._state.is_cancelled or (tried is not None and tried.verdict is Verdict.PASS):
                return tried is not None
            if self._is_over:
                return False
        return False

    def _may_pass(self, role: str) -> bool:
        """The last model, which is to agree with another, has nothing to agree with where all others failed."""
        is_last = role == self._plan.order[-1]
        return not (is_last and self._answers.must_agree) or self._answers.other_program(role) is not None

    async def _try_and_repair(self, role: str, stage: int) -> CheckedAnswer | None:
        """Let the model try, and correct itself as often as the plan says. Its last answer, None where that was not
        checked.
        """
        repair, tried = None, None
        for _ in range(1 + (self._plan.repairs if stage == 0 else 0)):
            tried = await self._try(role, stage, repair)
            if tried is None or tried.outcome is None or tried.verdict is not Verdict.FAIL or self._state.is_cancelled:
                break
            repair = Repair(tried.outcome.text, failure(tried.results))
        return tried

    async def _try(self, role: str, stage: int, repair: Repair | None) -> CheckedAnswer | None:
        number = len(self._state.trials) + 1
        step = replace(self._slm.trial_step(role, stage, number), repair=repair)
        asked = await self._ask(step)
        if asked.outcome is None or asked.outcome.reason == "aborted":
            await self._record(step, asked, Verdict.UNKNOWN)
            return None
        checked = await self._answers.check_trial(asked.outcome, stage, number)
        await self._record(step, asked, checked.verdict, checked.results)
        return checked

    async def _ask(self, step: Step) -> Asked:
        try:
            outcome: GenerationOutcome = await self._calls.start(AnswerActivities.execute, step, retry_policy=_RETRY)
        except ActivityError as error:
            why = f"trial {step.trial} of the {title(step.role)} model failed: {cause_of(error)}"
            reported = detail_of(error, TokenCounts) or TokenCounts()
            return Asked(step.role, failure="" if is_cancelled_exception(error) else why, reported=reported)
        return Asked(step.role, replace(outcome, role=step.role))

    async def _together(self) -> bool:
        """All answer at once, and what enough of them say alike is taken."""
        own = [self._slm.trial_step(role, 0, number) for number, role in enumerate(self._plan.order, 1)]
        steps = asked_together(own, own[0].request_id)
        try:
            asking = self._calls.start(AgreementActivities.agree, steps, self._plan, retry_policy=_RETRY)
            found: AgreementOutcome = await asking
        except ActivityError as error:
            for step in steps:
                await self._record(step, Asked(step.role), Verdict.UNKNOWN)
            if not is_cancelled_exception(error):
                self._state.notes.append(f"the small models were not asked together: {cause_of(error)}")
            return False
        for step, asked in zip(steps, found.asked, strict=True):
            if not asked.was_asked:
                continue
            why = f"the {title(asked.role)} model did not answer: {asked.failure}" if asked.failure else ""
            await self._record(step, replace(asked, failure=why), found.check.verdict)
        self._state.checks.append(found.check)
        self.first_calls = found.first_calls
        return not self._state.is_cancelled and await self._is_agreed(found)

    async def _is_agreed(self, found: AgreementOutcome) -> bool:
        """What the caller knows of the answer stands above what two models say."""
        ended = [each.outcome for each in found.asked if each.outcome and each.outcome.reason == "eos"]
        self.agreed = found.asked[found.taken].outcome if found.taken is not None else next(iter(ended), None)
        if found.taken is None or self.agreed is None:
            return False
        if not self._state.input.checks:
            return True
        return (await self._answers.check_trial(self.agreed, 0, found.taken + 1)).verdict is not Verdict.FAIL

    async def _record(self, step: Step, asked: Asked, verdict: Verdict, results: Sequence[CheckResult] = ()) -> None:
        """Each answer is paid, whatever it came to."""
        if asked.outcome is None:
            counts = await self._calls.settled(asked.reported, asked.role, step.trial, step.request_id)
        else:
            self._slm.see_prompt(step, asked.outcome)
            self._state.note_late(asked.role, asked.outcome)
            counts = asked.outcome.counts
            if asked.outcome.reason == "eos" and step.repair is None:
                self.whole[step.role] = asked.outcome
        if asked.failure:
            self._state.notes.append(asked.failure)
        usd, seconds = step.prices.usd(counts), sum(result.seconds for result in results)
        is_repair = step.repair is not None
        self._state.trials.append(Trial(step.trial, step.stage, is_repair, verdict, counts, usd, seconds, asked.role))


def asked_together(steps: Sequence[Step], request_id: str) -> list[Step]:
    """A log has one writer: the first model's is that of `request_id`."""
    return [
        replace(each, is_compared=True, request_id=beside_id(request_id, each.role) if number else request_id)
        for number, each in enumerate(steps)
    ]
