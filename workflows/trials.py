"""The trials of one request: the small model answers, the answer is checked, and a pass ends the request."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.checks import CheckResult, Repair, Trial, Verdict, combined, failure
    from tandem.method.request_state import RequestState
    from tandem.method.result import Stop, StopReason
    from tandem.method.tokens import TokenCounts
    from workflows.calls import ActivityCalls, cause_of
    from workflows.checked_answers import CheckedAnswer, CheckedAnswers
    from workflows.small_model import SmallModel


class TrialRunner:
    """`are_affordable`: the budget pays for them, whatever else happens."""

    def __init__(
        self, state: RequestState, calls: ActivityCalls, slm: SmallModel, answers: CheckedAnswers, are_affordable: bool
    ) -> None:
        self._state, self._calls, self._slm, self._answers = state, calls, slm, answers
        self._plan, self._can_run = state.plan.trial, are_affordable and bool(state.input.checks)

    def are_due(self, stage: int) -> bool:
        return self._can_run and stage in self._plan.stages and not self._state.is_cancelled

    @property
    def end_the_request(self) -> bool:
        """They failed, and the question is too long for the large model to be asked as well."""
        longest = self._plan.escalate_max_tokens
        return bool(longest and self._state.input.question_tokens > longest and self._answers.have_failed_at(0))

    async def run(self, stage: int) -> Stop | None:
        """Let the small model try from `stage`, and correct itself as often as the plan says; a pass stops the request."""
        repair = None
        for _ in range(1 + (self._plan.repairs if stage == 0 else 0)):
            tried = await self._try(stage, repair)
            if tried is None or tried.outcome is None or self._state.is_cancelled:
                return None
            if tried.verdict is Verdict.PASS:
                self._state.decided_at = workflow.now()
                return Stop(stage, StopReason.VERIFIED)
            if tried.verdict is not Verdict.FAIL:
                return None
            repair = Repair(tried.outcome.text, failure(tried.results))
        return None

    async def cancel(self) -> None:
        """Stop the trial that runs: the large model's answer has passed."""
        await self._calls.publish_stop_of_trial(workflow.now(), len(self._state.trials) + 1)

    async def _try(self, stage: int, repair: Repair | None) -> CheckedAnswer | None:
        number = len(self._state.trials) + 1
        try:
            outcome = await self._slm.try_answer(stage, number, repair)
        except ActivityError as error:
            self._record(number, stage, repair, await self._calls.lost_usage(error, "slm"), [])
            if not is_cancelled_exception(error):
                self._state.notes.append(f"trial {number} of the small model failed: {cause_of(error)}")
            return None
        if outcome.reason == "aborted":
            self._record(number, stage, repair, outcome.counts, [])
            return None
        checked = await self._answers.check_trial(outcome, stage, number)
        self._record(number, stage, repair, outcome.counts, checked.results)
        return checked

    def _record(
        self, number: int, stage: int, repair: Repair | None, counts: TokenCounts, results: list[CheckResult]
    ) -> None:
        seconds = sum(result.seconds for result in results)
        usd = self._state.plan.prices.slm.usd(counts)
        self._state.trials.append(Trial(number, stage, repair is not None, combined(results), counts, usd, seconds))
