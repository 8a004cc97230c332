"""The stages of one request: wait until one is written, have it scored, and see whether there is another."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.cost.allowance import Allowance
    from tandem.method.request.job import Step
    from tandem.method.request.result import Stop
    from tandem.method.request.tasks import StageScore
    from tandem.method.roles import SCORER
    from tandem.method.rule.stop_rule import decide, is_prefilled, is_scored, thresholds
    from tandem.method.timeouts import Timeouts
    from workflows.activities.scoring import ScoringActivities
    from workflows.calls import ActivityCalls, cancel, cause_of, detail_of
    from workflows.large_model import LargeModel
    from workflows.request_state import RequestState
    from workflows.small_model import SmallModel

_RETRY = RetryPolicy(initial_interval=Timeouts.retry_interval, maximum_attempts=2)


class Stages:
    """`has_lost_a_score`: a scoring pass may be paid for whose counts are only in the request log."""

    def __init__(
        self, state: RequestState, calls: ActivityCalls, llm: LargeModel, slm: SmallModel, allowance: Allowance
    ) -> None:
        self._state, self._calls, self._llm, self._slm = state, calls, llm, slm
        self.thresholds = thresholds(state.plan)
        self._llm_may_finish = allowance.finish is not None
        self._has_ended = False
        self.has_lost_a_score = False

    def is_scored(self, stage: int) -> bool:
        may_be = self._state.plan.is_scored and is_scored(self.thresholds[stage], self._llm_may_finish)
        return may_be and not self._state.is_cancelled

    def are_over(self) -> bool:
        """Nothing is left to score or to try."""
        return self._llm.has_answered or self._state.is_cancelled or self._has_ended

    async def is_written(self, stage: int) -> bool:
        """Wait for the stage; False when the insight ended before. Stage 0 is the bare question."""
        if stage == 0:
            return True
        try:
            written = await self._waited(ScoringActivities.wait_for_stage, self._step(stage))
        except ActivityError as error:
            self._has_ended = is_cancelled_exception(error)
            return False
        self._has_ended = written.ended
        return not written.ended and not self._state.is_cancelled

    async def score(self, stage: int) -> Stop | None:
        """Wait for the stage, score it, and decide. A scorer that fails lets the large model go on."""
        try:
            score = await self._waited(ScoringActivities.wait_and_score, self._step(stage), self.thresholds[stage])
        except ActivityError as error:
            self.has_lost_a_score = True
            if is_cancelled_exception(error):
                self._has_ended = True  # no later stage can come either
                return None
            score = detail_of(error, StageScore) or StageScore(stage)
            self._state.notes.append(f"stage {stage} was not scored: {cause_of(error)}")
        self._state.scores.append(score)  # it is paid for, whatever happened to the request meanwhile
        self._has_ended = score.ended
        if score.ended or self._state.is_cancelled or self._llm.has_answered:
            return None
        stop = decide(score, self.thresholds[stage])
        if stop:
            self._state.decided_at = workflow.now()
        elif self._state.plan.prefill_ahead and is_prefilled(stage, self.thresholds, self._llm_may_finish):
            self._slm.prefill_ahead(stage)
        return stop

    async def _waited(self, activity: Any, *arguments: Any) -> StageScore:
        """What the activity returns that waits for a stage. Meanwhile the small model prefills the stage before."""
        ahead = self._slm.take_prefill()
        waiting = self._calls.start(activity, *arguments, ahead, retry_policy=_RETRY)
        try:
            score = await self._unless_lost(waiting)
        except ActivityError as error:
            if found := detail_of(error, StageScore):
                self._slm.record_prefill(ahead, found)
            else:
                self._slm.record_missing_prefill(ahead, may_be_unread=is_cancelled_exception(error))
            raise
        self._slm.record_prefill(ahead, score)
        return score

    async def _unless_lost(self, waiting: workflow.ActivityHandle[StageScore]) -> StageScore:
        """What an activity returns that waits for a stage. It is cancelled when the large model has answered or failed,
        and when the log lacks the stage after the model's end: then Redis has lost it, and nobody will write it again.
        A scoring pass under way is completed also then.
        """
        if self._llm.handle is not None:
            await workflow.wait([waiting, self._llm.handle], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and self._llm.has_succeeded and not self._llm.has_answered:
                await self._calls.wait(waiting, Timeouts.stage_lost)
            await cancel(waiting)
        return await waiting

    def _step(self, stage: int) -> Step:
        return self._state.input.step(SCORER, stage=stage)
