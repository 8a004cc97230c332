"""The trials of one request: a small model answers, the answer is checked, and a pass ends the request."""

from __future__ import annotations

from functools import partial

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.evidence.checks import CheckResult, Repair, Trial, Verdict, failure
    from tandem.method.request.result import Stop, StopReason
    from tandem.method.roles import title
    from tandem.method.tokens import TokenCounts
    from workflows.calls import ActivityCalls, cause_of
    from workflows.checked_answers import CheckedAnswer, CheckedAnswers
    from workflows.request_state import RequestState
    from workflows.small_model import SmallModel


class TrialRunner:
    """`are_affordable`: the budget pays for them, whatever else happens."""

    def __init__(
        self, state: RequestState, calls: ActivityCalls, slm: SmallModel, answers: CheckedAnswers, are_affordable: bool
    ) -> None:
        self._state, self._calls, self._slm, self._answers = state, calls, slm, answers
        self._plan, self._can_run = state.plan.trial, are_affordable and bool(state.input.checks)
        self._is_over = False

    def are_due(self, stage: int) -> bool:
        return self._can_run and stage in self._plan.stages and not self._state.is_cancelled

    @property
    def end_the_request(self) -> bool:
        """They failed, and the question is too long for the large model to be asked as well."""
        longest = self._plan.escalate_max_tokens
        return bool(longest and self._state.input.question_tokens > longest and self._answers.have_failed_at(0))

    async def run(self, stage: int) -> Stop | None:
        """Let the small models try from `stage`, each where those before it did not pass; a pass stops the request."""
        for role in self._plan.order:
            if not self._may_pass(role):
                return None
            tried = await self._run(role, stage)
            if self._state.is_cancelled:
                return None
            if tried is not None and tried.verdict is Verdict.PASS:
                self._state.decided_at = workflow.now()
                return Stop(stage, StopReason.VERIFIED)
            if self._is_over:
                return None
        return None

    async def cancel(self) -> None:
        """Stop the trial that runs: the large model's answer has passed."""
        self._is_over = True
        await self._calls.publish_stop_of_trial(workflow.now(), len(self._state.trials) + 1)

    def _may_pass(self, role: str) -> bool:
        """The last model, which is to agree with another, has nothing to agree with where all others failed."""
        is_last = role == self._plan.order[-1]
        return not (is_last and self._answers.must_agree) or self._answers.other_program(role) is not None

    async def _run(self, role: str, stage: int) -> CheckedAnswer | None:
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
        record = partial(self._record, role, number, stage, repair)
        try:
            outcome = await self._slm.try_answer(stage, number, repair, role)
        except ActivityError as error:
            record(await self._calls.lost_usage(error, role, number), Verdict.UNKNOWN, [])
            if not is_cancelled_exception(error):
                self._state.notes.append(f"trial {number} of the {title(role)} model failed: {cause_of(error)}")
            return None
        if outcome.reason == "aborted":
            record(outcome.counts, Verdict.UNKNOWN, [])
            return None
        checked = await self._answers.check_trial(outcome, stage, number)
        record(outcome.counts, checked.verdict, checked.results)
        return checked

    def _record(
        self,
        role: str,
        number: int,
        stage: int,
        repair: Repair | None,
        counts: TokenCounts,
        verdict: Verdict,
        results: list[CheckResult],
    ) -> None:
        seconds = sum(result.seconds for result in results)
        usd = self._state.plan.models[role].prices.usd(counts)
        self._state.trials.append(Trial(number, stage, repair is not None, verdict, counts, usd, seconds, role))
