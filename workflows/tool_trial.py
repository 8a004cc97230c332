"""The small model's answer where tools may be called: taken if the evidence for its calls, or for calling nothing,
suffices.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.cost.allowance import Allowance
    from tandem.method.evidence.checks import Trial, Verdict
    from tandem.method.request.events import Scored
    from tandem.method.request.result import Stop
    from tandem.method.request.tasks import GenerationOutcome, StageScore
    from tandem.method.rule.stop_rule import NEVER, decide, is_scored
    from tandem.method.tokens import TokenCounts
    from tandem.method.tools import is_marked
    from workflows.activities.publishing import PublishingActivities
    from workflows.calls import ActivityCalls, cause_of
    from workflows.checked_answers import CheckedAnswers
    from workflows.request_state import RequestState
    from workflows.small_model import SmallModel

_CERTAINTY = "certainty"


class ToolTrial:
    """`outcome`: what the small model wrote, where it was asked and ended by itself. It is used where the large model
    has no answer.
    """

    def __init__(
        self,
        state: RequestState,
        calls: ActivityCalls,
        slm: SmallModel,
        answers: CheckedAnswers,
        allowance: Allowance,
    ) -> None:
        self._state, self._calls, self._slm, self._answers, self._allowance = state, calls, slm, answers, allowance
        self.outcome: GenerationOutcome | None = None

    async def run(self) -> Stop | None:
        """Let the small model answer. Returns the stop where that suffices."""
        if not self._is_tried() or self._state.is_cancelled:
            return None
        outcome = await self._try()
        if outcome is None or outcome.reason != "eos":
            return None
        self.outcome = outcome
        score = self._score(outcome)
        stop = None if score.threshold == NEVER else decide(score, score.threshold or 0.0)
        await self._publish(score, stop is not None)
        if self._state.is_cancelled or stop is None:
            self._see_how_unsure(outcome, score)
            return None
        if await self._fails_checks(outcome) or self._state.is_cancelled:
            return None
        self._state.decided_at = workflow.now()
        return stop

    def _is_tried(self) -> bool:
        """It is worth asking; where the large model may not write, it always is."""
        plan, may_finish = self._state.plan, self._allowance.finish is not None
        if may_finish and any(is_marked(call) for said in self._state.input.request.history for call in said.calls):
            self._state.stays_with_llm = True
            self._state.notes.append(
                "the large model answers the rest of this conversation: an earlier call was unsure"
            )
            return False
        most = min(plan.stage_zero_threshold, plan.text_threshold)
        return is_scored(most, may_finish) and self._allowance.pays_for_trials

    async def _fails_checks(self, outcome: GenerationOutcome) -> bool:
        """The caller knows what its tools' arguments must be; that they may be right does not make an unsure call a
        sure one.
        """
        if not self._state.input.checks or not _has_calls(outcome):
            return False
        return (await self._answers.check_trial(outcome, 0, 1)).verdict is Verdict.FAIL

    async def _try(self) -> GenerationOutcome | None:
        try:
            outcome = await self._slm.try_answer(0, 1, None)
        except ActivityError as error:
            self._record(await self._calls.lost_usage(error, "slm", 1))
            if not is_cancelled_exception(error):
                self._state.notes.append(f"the small model's call failed: {cause_of(error)}")
            return None
        self._record(outcome.counts)
        return outcome

    def _score(self, outcome: GenerationOutcome) -> StageScore:
        """Calls and texts without one have thresholds of their own; certainty says nothing of a text."""
        plan, certainty = self._state.plan, outcome.certainty
        trained, name = (certainty.trained, certainty.scorer) if certainty else (False, _CERTAINTY)
        threshold = plan.stage_zero_threshold if _has_calls(outcome) else plan.text_threshold if trained else NEVER
        if certainty is None:
            self._state.notes.append("the small model's call was not scored: its engine reports no log-probabilities")
        elif certainty.score is None:
            self._state.notes.append(f"the small model's answer was not scored: the scorer {name} has no score for it")
        elif certainty.doubt:
            self._state.notes.append(f"the small model's call is not taken: {certainty.doubt}")
            threshold = NEVER
        score = certainty.score if certainty else None
        found = StageScore(0, score=score, scorer=name, trained=trained, threshold=threshold)
        self._state.scores.append(found)
        return found

    async def _publish(self, score: StageScore, suffices: bool) -> None:
        scored = Scored(0, score.score, score.threshold or 0.0, suffices, score.scorer, score.trained)
        await self._calls.locally(PublishingActivities.publish_scored, self._state.input.request_id, scored)

    def _see_how_unsure(self, outcome: GenerationOutcome, score: StageScore) -> None:
        if _has_calls(outcome) and score.score is not None and score.score < self._state.plan.stay_below:
            self._state.stays_with_llm = True

    def _record(self, counts: TokenCounts) -> None:
        usd = self._state.plan.slm.prices.usd(counts)
        self._state.trials.append(Trial(1, 0, False, Verdict.UNKNOWN, counts, usd, 0.0))


def _has_calls(outcome: GenerationOutcome) -> bool:
    return outcome.message is not None and bool(outcome.message.calls)
