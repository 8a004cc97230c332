"""The small model's answer where tools may be called: taken if it is a call that the model is sure of."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.checks import Trial, Verdict
    from tandem.method.events import Scored
    from tandem.method.request_state import RequestState
    from tandem.method.result import Stop
    from tandem.method.stop_rule import Allowance, decide, is_scored, is_sufficient
    from tandem.method.tasks import GenerationOutcome, StageScore
    from tandem.method.tokens import TokenCounts
    from workflows.activities.publishing import PublishingActivities
    from workflows.calls import ActivityCalls, cause_of
    from workflows.small_model import SmallModel

CERTAINTY = "certainty"
"""The scorer of calls: the geometric mean of the probabilities of the tokens."""
_NEVER = 1.0


class ToolTrial:
    """`outcome`: what the small model wrote, where it was asked and ended by itself. It is used where the large model has no answer."""

    def __init__(self, state: RequestState, calls: ActivityCalls, slm: SmallModel, allowance: Allowance) -> None:
        self._state, self._calls, self._slm, self._allowance = state, calls, slm, allowance
        self.outcome: GenerationOutcome | None = None

    async def run(self) -> Stop | None:
        """Let the small model answer. Returns the stop where its call suffices."""
        threshold, may_finish = self._state.plan.stage_zero_threshold, self._allowance.finish is not None
        if not is_scored(threshold, may_finish) or not self._allowance.pays_for_trials or self._state.is_cancelled:
            return None
        outcome = await self._try()
        if outcome is None or outcome.reason != "eos":
            return None
        self.outcome = outcome
        has_calls = outcome.message is not None and bool(outcome.message.calls)
        score = await self._score(outcome, threshold if has_calls else _NEVER)
        if self._state.is_cancelled or not has_calls:
            return None
        stop = decide(score, threshold)
        if stop:
            self._state.decided_at = workflow.now()
        return stop

    async def _try(self) -> GenerationOutcome | None:
        try:
            outcome = await self._slm.try_answer(0, 1, None)
        except ActivityError as error:
            self._record(await self._calls.lost_usage(error, "slm"))
            if not is_cancelled_exception(error):
                self._state.notes.append(f"the small model's call failed: {cause_of(error)}")
            return None
        self._record(outcome.counts)
        return outcome

    async def _score(self, outcome: GenerationOutcome, threshold: float) -> StageScore:
        """A text without a call has no threshold that it could reach."""
        certainty = outcome.certainty
        if certainty is None:
            self._state.notes.append("the small model's call was not scored: its engine reports no log-probabilities")
        score = StageScore(0, score=certainty.score if certainty else None, scorer=CERTAINTY)
        self._state.scores.append(score)
        is_enough = is_sufficient(score.score, threshold) and threshold < _NEVER
        scored = Scored(0, score.score, threshold, is_enough, CERTAINTY, False)
        await self._calls.locally(PublishingActivities.publish_scored, self._state.input.request_id, scored)
        return score

    def _record(self, counts: TokenCounts) -> None:
        usd = self._state.plan.prices.slm.usd(counts)
        self._state.trials.append(Trial(1, 0, False, Verdict.UNKNOWN, counts, usd, 0.0))
