"""The workflow of one request. `_solve` reads as the method: score, write and score, stop, answer, settle."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.names import CANCEL_SIGNAL, SOLVE_WORKFLOW
    from tandem.method.request import SolveInput
    from tandem.method.request_state import RequestState
    from tandem.method.result import SolveResult, Stop, StopReason
    from tandem.method.stop_rule import allowance, decide, fall_back, is_prefilled, is_scored, thresholds
    from tandem.method.tasks import ModelTask, StageScore, model_task
    from tandem.method.timeouts import Timeouts
    from workflows.activities.scoring import ScoringActivities
    from workflows.calls import ActivityCalls, cause_of, detail_of
    from workflows.large_model import LargeModel
    from workflows.settlement import Settlement
    from workflows.small_model import SmallModel

_RETRY_SCORE = RetryPolicy(initial_interval=Timeouts.retry_interval, maximum_attempts=2)


@workflow.defn(name=SOLVE_WORKFLOW)
class SolveWorkflow:
    @workflow.init
    def __init__(self, task: SolveInput) -> None:
        self._input, self._plan = task, task.plan
        self._thresholds = thresholds(task.plan)
        self._allowance = allowance(task.plan, task.request.budget, task.question_tokens)
        self._state = RequestState(task, workflow.now())
        self._calls = ActivityCalls(self._state)
        self._llm = LargeModel(self._state, self._calls)
        answer = model_task(task, task.plan.prices.slm, max_tokens=(self._allowance.answer_tokens,))
        self._slm = SmallModel(self._state, self._calls, answer)
        self._settlement = Settlement(self._state, self._calls, self._slm)

    @workflow.run
    async def run(self, task: SolveInput) -> SolveResult:
        work = asyncio.create_task(self._solve())
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:  # cancelled by an operator, through Temporal
            await self.cancel()
            return await work
        finally:
            await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.signal(name=CANCEL_SIGNAL)
    async def cancel(self) -> None:
        """Cancel everything that runs; the request then ends with its bill."""
        if not self._state.is_cancelled:
            self._state.cancelled_at = workflow.now()
            await self._calls.publish_stop(self._state.cancelled_at, insight=True, answer=True)
            self._calls.cancel_all()

    async def _solve(self) -> SolveResult:
        stop = await self._decide()
        self._state.decided_at = self._state.decided_at or workflow.now()
        self._slm.cancel_prefills()
        answer = None
        stopping = asyncio.create_task(self._llm.stop())
        try:
            if stop.reason is not StopReason.LLM_FINISHED and not self._state.is_cancelled:
                answer = await self._slm.answer(stop.stage)
        except ActivityError as error:
            await stopping
            raise await self._settlement.failure(stop, error) from error
        await stopping
        if self._state.is_cancelled:
            stop = replace(stop, reason=StopReason.CANCELLED)
        return await self._settlement.settle(stop, answer)

    async def _decide(self) -> Stop:
        """Score the bare question, then each stage as it is written, until one suffices or none is left."""
        if self._plan.scores_stage_zero and self._is_scored(0) and (stop := await self._score(0)):
            return stop
        if self._allowance.caps and not self._state.is_cancelled:
            caps = tuple(self._allowance.llm_caps)
            self._llm.start(model_task(self._input, self._plan.prices.llm, max_tokens=caps))
            for stage in filter(self._is_scored, range(1, len(self._allowance.caps) + 1)):
                if stop := await self._score(stage):
                    return stop
                if self._llm.has_failed:
                    return fall_back(self._state.scores, self._thresholds, StopReason.LLM_UNAVAILABLE)
                if self._is_over():
                    break
        return await self._when_no_stage_passed()

    async def _score(self, stage: int) -> Stop | None:
        """Wait for the stage, score it, and decide. A scorer that fails lets the large model go on."""
        task = model_task(self._input, self._plan.prices.scorer, stage=stage)
        try:
            score = await self._when_scored(task, self._thresholds[stage])
        except ActivityError as error:
            self._settlement.has_lost_a_score = True
            if is_cancelled_exception(error):
                return None
            score = detail_of(error, StageScore) or StageScore(stage)
            self._state.notes.append(f"stage {stage} was not scored: {cause_of(error)}")
        self._state.scores.append(score)  # it is paid for, whatever happened to the request meanwhile
        if self._state.is_cancelled or self._llm.has_answered:
            return None
        stop = decide(score, self._thresholds[stage])
        if stop:
            self._state.decided_at = workflow.now()
        elif self._plan.prefill_ahead and is_prefilled(stage, self._thresholds, self._llm_may_finish):
            self._slm.prefill(stage)
        return stop

    async def _when_scored(self, task: ModelTask, threshold: float) -> StageScore:
        """The stage's score; the wait ends early when the large model has answered or failed."""
        scoring = self._calls.start(ScoringActivities.wait_and_score, task, threshold, retry_policy=_RETRY_SCORE)
        if self._llm.handle is not None:
            await workflow.wait([scoring, self._llm.handle], return_when=asyncio.FIRST_COMPLETED)
            if not scoring.done() and (self._llm.has_answered or not self._llm.has_succeeded):
                scoring.cancel()
        score: StageScore = await scoring
        return score

    async def _when_no_stage_passed(self) -> Stop:
        reason = StopReason.BEST_STAGE
        if self._state.is_cancelled:
            reason = StopReason.CANCELLED
        elif self._llm.handle is not None:
            await workflow.wait([self._llm.handle])
            # One that was to finish has answered even if its cap cut it off: the result is then not `complete`.
            if self._llm.has_answered or (self._llm_may_finish and self._llm.has_succeeded):
                return Stop(len(self._state.scores) or 1, StopReason.LLM_FINISHED)
            if not self._llm.has_succeeded:
                reason = StopReason.LLM_UNAVAILABLE
        if self._allowance.is_limited and reason is StopReason.BEST_STAGE:
            reason = StopReason.BUDGET
        return fall_back(self._state.scores, self._thresholds, reason)

    def _is_scored(self, stage: int) -> bool:
        return is_scored(self._thresholds[stage], self._llm_may_finish)

    def _is_over(self) -> bool:
        """Nothing is left to score."""
        return self._llm.has_answered or self._state.is_cancelled or self._state.scores[-1].ended

    @property
    def _llm_may_finish(self) -> bool:
        return self._allowance.finish is not None
