"""The workflow of one request. `_solve` reads as the method: score, write and score, stop, answer, settle."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.converter import value_to_type
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from services.process.search_attributes import at_end
    from tandem.method.record import Record
    from tandem.method.shared import (
        CANCEL_SIGNAL,
        SLOT_COMPLETED,
        SLOT_LLM_STOPPED,
        SOLVE_WORKFLOW,
        AheadOutcome,
        AheadTask,
        Announcement,
        AnswerOutcome,
        AnswerTask,
        InsightOutcome,
        InsightTask,
        LossTask,
        RoleUsage,
        ScoreTask,
        ShadowInput,
        SolveInput,
        SolveResult,
        StageScore,
        Stop,
        StopOrder,
        StopReason,
        Timeouts,
        llm_queue,
    )
    from tandem.method.stop_rule import allowance, decide, fall_back, is_read_ahead, is_scored, thresholds
    from workflows.activities import Activities
    from workflows.retries import retry_answer

_RETRY = RetryPolicy(initial_interval=Timeouts.retry_interval, backoff_coefficient=2.0, maximum_attempts=4)
_RETRY_SCORE = RetryPolicy(initial_interval=Timeouts.retry_interval, maximum_attempts=2)
T = TypeVar("T")
_ONCE = RetryPolicy(maximum_attempts=1)
# A fallback answer is a new activity, whose attempts begin at 1 again; its epochs must not.
_FALLBACK_EPOCH = 1000
_ACTIVITY: dict[str, Any] = {
    "start_to_close_timeout": Timeouts.attempt,
    "schedule_to_close_timeout": Timeouts.activity,
    "heartbeat_timeout": Timeouts.heartbeat,
    "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}


@workflow.defn(name=SOLVE_WORKFLOW)
class SolveWorkflow:
    @workflow.init
    def __init__(self, task: SolveInput) -> None:
        self._task, self._plan = task, task.plan
        self._thresholds = thresholds(task.plan)
        self._allowance = allowance(task.plan, task.budget, task.question_tokens)
        self._record = Record(task, workflow.now())
        self._lost_a_score = False
        self._running: list[workflow.ActivityHandle[Any]] = []
        self._ahead: list[workflow.ActivityHandle[AheadOutcome]] = []
        self._llm: workflow.ActivityHandle[InsightOutcome] | None = None
        self._cancelled_at: datetime | None = None

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
        """Stop everything that runs; the request then ends with what it has cost."""
        if self._cancelled_at is None:
            self._cancelled_at = workflow.now()
            await self._raise_stop(self._cancelled_at, insight=True, answer=True)
            for handle in self._running:
                handle.cancel()

    async def _solve(self) -> SolveResult:
        stop = await self._decide()
        self._record.decided_at = self._record.decided_at or workflow.now()
        self._stop_reading_ahead()
        answer: AnswerOutcome | None = None
        if stop.reason is StopReason.LLM_FINISHED or self._cancelled_at is not None:
            await self._stop_llm()
        else:
            stopping = asyncio.create_task(self._stop_llm())
            answer = await self._answer(stop)
            await stopping
        if self._cancelled_at is not None:
            stop = replace(stop, reason=StopReason.CANCELLED)
        return await self._settle(stop, answer)

    # -- the decision -------------------------------------------------------------------------------------------

    async def _decide(self) -> Stop:
        """Score the bare question, then each stage as it is written, until one suffices or none is left."""
        if self._plan.scores_stage_zero and self._is_scored(0) and (stop := await self._score(0)):
            return stop
        if self._allowance.caps and self._cancelled_at is None:
            self._llm = self._start_llm()
            for stage in filter(self._is_scored, range(1, len(self._allowance.caps) + 1)):
                if stop := await self._score(stage):
                    return stop
                if self._llm.done() and not self._succeeded(self._llm):
                    return fall_back(self._record.scores, self._thresholds, StopReason.LLM_UNAVAILABLE)
                if self._has_answered() or self._cancelled_at is not None or self._record.scores[-1].ended:
                    break
        return await self._when_no_stage_passed()

    async def _score(self, stage: int) -> Stop | None:
        """Wait for the stage, score it, and decide. A scorer that fails lets the large model go on."""
        task = ScoreTask(
            request_id=self._task.request_id,
            question=self._task.question,
            stage=stage,
            threshold=self._thresholds[stage],
            profile=self._plan.profile,
            prices=self._plan.prices.scorer,
            task=self._plan.task,
        )
        scoring = self._start(Activities.wait_and_score, task, retry_policy=_RETRY_SCORE)
        if self._llm is not None:
            await workflow.wait([scoring, self._llm], return_when=asyncio.FIRST_COMPLETED)
            if not scoring.done() and (self._has_answered() or not self._succeeded(self._llm)):
                scoring.cancel()
        try:
            score = await scoring
        except ActivityError as error:
            self._lost_a_score = True
            if is_cancelled_exception(error):
                return None
            score = _failure_detail(error, StageScore) or StageScore(stage)
            self._record.notes.append(f"stage {stage} was not scored: {_cause(error)}")
        self._record.scores.append(score)  # it is paid for, whatever has become of the request meanwhile
        if self._cancelled_at is not None or self._has_answered():
            return None
        stop = decide(score, self._thresholds[stage])
        if stop:
            self._record.decided_at = workflow.now()
        elif self._plan.reads_ahead and is_read_ahead(stage, self._thresholds, self._allowance.finish is not None):
            self._ahead.append(self._read_ahead(stage))
        return stop

    async def _when_no_stage_passed(self) -> Stop:
        reason = StopReason.BEST_STAGE
        if self._cancelled_at is not None:
            reason = StopReason.CANCELLED
        elif self._llm is not None:
            await workflow.wait([self._llm])
            # One that was to finish has answered even if its cap cut it off: the result is then not `complete`.
            if self._has_answered() or (self._allowance.finish is not None and self._succeeded(self._llm)):
                return Stop(len(self._record.scores) or 1, StopReason.LLM_FINISHED)
            if not self._succeeded(self._llm):
                reason = StopReason.LLM_UNAVAILABLE
        if self._allowance.is_limited and reason is StopReason.BEST_STAGE:
            reason = StopReason.BUDGET
        return fall_back(self._record.scores, self._thresholds, reason)

    def _is_scored(self, stage: int) -> bool:
        return is_scored(self._thresholds[stage], self._allowance.finish is not None)

    def _has_answered(self) -> bool:
        """In continuation mode a large model that ended by itself has given its answer."""
        return (
            self._plan.handoff == "continuation"
            and self._llm is not None
            and self._succeeded(self._llm)
            and self._llm.result().reason == "eos"
        )

    # -- the large model ----------------------------------------------------------------------------------------

    def _start_llm(self) -> workflow.ActivityHandle[InsightOutcome]:
        task = InsightTask(
            request_id=self._task.request_id,
            question=self._task.question,
            caps=self._allowance.llm_caps,
            sampling=self._task.sampling,
            profile=self._plan.profile,
            prices=self._plan.prices.llm,
            task=self._plan.task,
        )
        return self._start(
            Activities.generate_insight, task, retry_policy=_RETRY, task_queue=llm_queue(self._plan.profile)
        )

    async def _stop_llm(self) -> None:
        """Halt it by every lane at once, then take its exact usage, whichever way it ended."""
        if self._llm is None:
            return
        was_running = not self._llm.done()
        if was_running:
            assert self._record.decided_at is not None
            flag = asyncio.create_task(self._raise_stop(self._record.decided_at, insight=True))
            self._llm.cancel()
            await flag
        try:
            self._record.insight = await self._llm
            self._record.insight_usage = self._record.insight.usage
        except ActivityError as error:
            if not is_cancelled_exception(error):
                self._record.notes.append(f"the large model failed: {_cause(error)}")
            self._record.insight_usage = await self._lost_usage(error, "llm")
        if was_running and self._record.insight is not None:
            await self._announce_stop(self._record.insight)

    async def _announce_stop(self, insight: InsightOutcome) -> None:
        payload: dict[str, object] = {
            "cancel_latency_ms": self._record.cancel_ms(insight),
            "overrun_tokens": insight.usage.overrun_tokens,
            "reason": StopReason.CANCELLED if self._cancelled_at else StopReason.SUFFICIENT,
        }
        await self._announce(SLOT_LLM_STOPPED, "llm_stopped", payload)

    # -- the small model ----------------------------------------------------------------------------------------

    async def _answer(self, stop: Stop) -> AnswerOutcome | None:
        """Answer from the chosen stage; if its insight cannot be read any more, from the bare question."""
        try:
            answer = await self._execute(stop.stage, 0)
        except ActivityError as error:
            if is_cancelled_exception(error):  # before it began
                self._record.answer_usage = await self._lost_usage(error, "slm")
                return None
            if stop.stage == 0:
                raise await self._failure(stop, error) from error
            self._record.notes.append(f"the answer does without the insight: {_cause(error)}")
            lost = await self._lost_usage(error, "slm")
            try:
                answer = await self._execute(0, _FALLBACK_EPOCH)
            except ActivityError as second:
                raise await self._failure(stop, second) from second
            if not answer.is_logged:
                answer = replace(answer, usage=answer.usage.plus_lost(lost))
        if not answer.is_logged:
            self._record.notes.append("the answer was not streamed: the request log did not answer")
        self._record.answer_usage = answer.usage
        return answer

    def _read_ahead(self, stage: int) -> workflow.ActivityHandle[AheadOutcome]:
        """While the large model goes on, the small one reads what its answer will begin with."""
        request = self._task
        task = AheadTask(request.request_id, request.question, stage, self._plan.prices.slm, self._plan.task)
        return self._start(Activities.read_ahead, task, retry_policy=_ONCE)

    def _stop_reading_ahead(self) -> None:
        """The answer reads what is left, if there is to be one."""
        for handle in self._ahead:
            if not handle.done():
                handle.cancel()

    async def _execute(self, stage: int, base_epoch: int) -> AnswerOutcome:
        task = AnswerTask(
            request_id=self._task.request_id,
            question=self._task.question,
            stage=stage,
            max_tokens=self._allowance.answer_tokens,
            sampling=self._task.sampling,
            profile=self._plan.profile,
            base_epoch=base_epoch,
            prices=self._plan.prices.slm,
            task=self._plan.task,
        )
        answer: AnswerOutcome = await self._start(
            Activities.execute, task, retry_policy=retry_answer(self._plan.away_seconds)
        )
        return answer

    async def _failure(self, stop: Stop, error: ActivityError) -> ApplicationError:
        """The request ends without an answer, but not without its bill, which the error carries."""
        self._record.answer_usage = await self._lost_usage(error, "slm")
        await self._stop_llm()
        await self._count_lost_scores()
        await self._count_read_ahead()
        self._record.notes.append(f"the small model failed: {_cause(error)}")
        failed = self._record.result(stop, None, workflow.now())
        self._make_searchable(failed)
        result = asdict(failed)
        await self._announce_end("failed", result)
        return ApplicationError(f"no answer: {_cause(error)}", result, type="SLM_UNAVAILABLE", non_retryable=True)

    # -- the bill -----------------------------------------------------------------------------------------------

    async def _settle(self, stop: Stop, answer: AnswerOutcome | None) -> SolveResult:
        await self._count_lost_scores()
        await self._count_read_ahead()
        result = self._record.result(stop, answer, workflow.now())
        self._make_searchable(result)
        if told := await self._announce_end("completed", asdict(result)):
            # A cancel came just after the end had been told, and this is the step run anew: what was told stands.
            result = value_to_type(SolveResult, told)
            self._make_searchable(result)
        if self._is_shadowed(result):
            await self._locally(Activities.start_shadow, self._shadow(result))
        return result

    def _make_searchable(self, result: SolveResult) -> None:
        if self._task.is_searchable:
            workflow.upsert_search_attributes(at_end(result))

    def _is_shadowed(self, result: SolveResult) -> bool:
        """A share of the answered requests, drawn by id: the same whenever it is asked."""
        drawn = zlib.crc32(self._task.request_id.encode()) / 2**32 < self._plan.shadow_share
        return drawn and result.complete and result.stop.reason is not StopReason.CANCELLED

    def _shadow(self, result: SolveResult) -> ShadowInput:
        finished = result.stop.reason is StopReason.LLM_FINISHED
        return ShadowInput(
            request_id=self._task.request_id,
            question=self._task.question,
            plan=self._plan,
            sampling=self._task.sampling,
            served_answer=result.answer,
            served_usd=result.cost.usd,
            estimate_usd=result.cost.usd_llm_alone,
            llm_finished=result.usage.llm if finished else None,
        )

    async def _count_lost_scores(self) -> None:
        if not self._lost_a_score:
            return
        try:
            computed, cached = await workflow.execute_local_activity_method(
                Activities.scored,
                self._task.request_id,
                schedule_to_close_timeout=Timeouts.local_attempt,
                retry_policy=_ONCE,
            )
            self._record.scored = (computed, cached)
        except FailureError:  # a local activity's, which comes without its wrapper
            self._record.notes.append("the bill of the scorer is a lower bound: the request log did not answer")

    async def _count_read_ahead(self) -> None:
        """What was read ahead is paid, whether the answer began with it or not. Where a result is missing, Redis knows."""
        outcomes = await asyncio.gather(*self._ahead, return_exceptions=True)
        self._record.ahead = [outcome for outcome in outcomes if isinstance(outcome, AheadOutcome)]
        if len(self._record.ahead) < len(outcomes):
            logged = await self._locally(Activities.tokens_read_ahead, self._task.request_id)
            if logged is None:
                self._record.notes.append("the bill of the slm is a lower bound: the request log did not answer")
            else:
                self._record.ahead.append(logged)

    async def _lost_usage(self, error: ActivityError, role: str) -> RoleUsage:
        """Usage of a role whose every attempt failed: from Redis, or from the service's own last words."""
        spent = _failure_detail(error, RoleUsage) or RoleUsage()
        model, prices = (
            (self._plan.llm, self._plan.prices.llm) if role == "llm" else (self._plan.slm, self._plan.prices.slm)
        )
        try:
            return await workflow.execute_activity_method(
                Activities.settle_loss,
                LossTask(self._task.request_id, role, model, spent, prices),
                start_to_close_timeout=Timeouts.local_attempt,
                retry_policy=_ONCE,
            )
        except ActivityError as unsettled:
            self._record.notes.append(f"the bill of the {role} is a lower bound: the request log did not answer")
            return _failure_detail(unsettled, RoleUsage) or spent

    # -- helpers ------------------------------------------------------------------------------------------------

    def _start(self, activity: Any, task: Any, **options: Any) -> workflow.ActivityHandle[Any]:
        handle = workflow.start_activity_method(activity, task, **{**_ACTIVITY, **options})
        self._running.append(handle)
        return handle

    @staticmethod
    def _succeeded(handle: workflow.ActivityHandle[Any]) -> bool:
        return handle.done() and not handle.cancelled() and handle.exception() is None

    async def _raise_stop(self, decided_at: datetime, *, insight: bool = False, answer: bool = False) -> None:
        epoch = max((s.epoch for s in self._record.scores), default=1)
        order = StopOrder(
            self._task.request_id,
            insight_epoch=epoch if insight else None,
            answer_epoch=_FALLBACK_EPOCH * 2 if answer else None,
            decided_at=decided_at.timestamp(),
        )
        await self._locally(Activities.raise_stop, order)

    async def _announce(self, slot: int, kind: str, payload: dict[str, object]) -> None:
        await self._locally(Activities.announce, Announcement(self._task.request_id, slot, kind, payload))

    async def _announce_end(self, kind: str, result: dict[str, object]) -> dict[str, object] | None:
        end = Announcement(self._task.request_id, SLOT_COMPLETED, kind, result)
        return cast(dict[str, object] | None, await self._locally(Activities.announce_end, end))

    async def _locally(self, activity: Any, argument: Any) -> Any:
        """A local activity on the request log. The other lanes stop and the result is Temporal's, so it may fail."""
        try:
            return await workflow.execute_local_activity_method(
                activity, argument, schedule_to_close_timeout=Timeouts.local_attempt, retry_policy=_ONCE
            )
        except FailureError as error:  # a local activity's comes without its wrapper
            workflow.logger.warning("the request log was not written: %s", _cause(error))
            return None


def _cause(error: FailureError) -> str:
    return str(error.cause) if error.cause else str(error)


def _failure_detail(error: ActivityError, kind: type[T]) -> T | None:
    """The detail of type `kind` that the last attempt's error carries."""
    cause = error.cause
    if not isinstance(cause, ApplicationError) or not cause.details:
        return None
    detail = cause.details[0]
    return kind(**detail) if isinstance(detail, dict) else None
