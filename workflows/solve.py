"""The workflow of one request. `_solve` reads as the method: try and score, write on, stop, answer, settle."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from tandem.method.cost.allowance import allowance
    from tandem.method.evidence.checks import Verdict
    from tandem.method.names import CANCEL_SIGNAL, SOLVE_WORKFLOW
    from tandem.method.request.job import Job
    from tandem.method.request.result import SolveResult, Stop, StopReason
    from tandem.method.request.tasks import GenerationOutcome
    from tandem.method.roles import LLM, SLM
    from tandem.method.rule.stop_rule import fall_back
    from workflows.activities.jobs import remember
    from workflows.attempts import Attempts
    from workflows.calls import ActivityCalls
    from workflows.checked_answers import CheckedAnswers
    from workflows.large_model import LargeModel
    from workflows.request_state import RequestState
    from workflows.settlement import Settlement
    from workflows.small_model import SmallModel
    from workflows.stages import Stages


@workflow.defn(name=SOLVE_WORKFLOW)
class SolveWorkflow:
    @workflow.init
    def __init__(self, task: Job) -> None:
        self._input, self._plan = task, task.plan
        self._allowance = allowance(task.plan, task.request.budget, task.question_tokens)
        self._state = RequestState(task, workflow.now())
        self._calls = ActivityCalls(self._state)
        self._llm = LargeModel(self._state, self._calls)
        remember(workflow.info().run_id, task)
        self._slm = SmallModel(self._state, self._calls, task.step(SLM, max_tokens=(self._allowance.answer_tokens,)))
        self._stages = Stages(self._state, self._calls, self._llm, self._slm, self._allowance)
        self._answers = CheckedAnswers(self._state, self._calls)
        pays = self._allowance.pays_for_trials
        self._attempts = Attempts(self._state, self._calls, self._slm, self._answers, pays)
        self._settlement = Settlement(self._state, self._calls, self._slm, self._stages, self._attempts)

    @workflow.run
    async def run(self, task: Job) -> SolveResult:
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
            await self._calls.cancel_all()

    async def _solve(self) -> SolveResult:
        stop = await self._decide()
        self._state.decided_at = self._state.decided_at or workflow.now()
        answer = None
        stopping = asyncio.create_task(self._llm.stop(stop.reason))
        try:
            if not self._state.is_cancelled:
                answer = await self._answer(stop)
        except FailureError as error:
            await stopping
            await self._llm.settle_lost_usage()
            of_llm = self._llm.failure if stop.reason is StopReason.LLM_UNAVAILABLE else None
            raise await self._settlement.failure(stop, error, of_llm) from error
        await stopping
        await self._llm.settle_lost_usage()
        if self._state.is_cancelled:
            stop = replace(stop, reason=StopReason.CANCELLED)
        return await self._settlement.settle(stop, answer)

    async def _decide(self) -> Stop:
        """Visit the bare question, then each stage as it is written, until one suffices or none is left."""
        if self._plan.trial.mode == "overlapped":
            self._start_llm()
        if stop := await self._visit(0):
            return stop
        if self._attempts.end_the_request and (best := self._answers.best):
            return Stop(best.stage, StopReason.UNVERIFIED_BEST)
        self._start_llm()
        for stage in range(1, self._last_stage + 1):
            if self._stages.are_over():
                break
            if stop := await self._visit(stage):
                return stop
            if self._llm.has_failed:
                return fall_back(self._state.scores, self._stages.thresholds, StopReason.LLM_UNAVAILABLE)
        return await self._when_no_stage_passed()

    @property
    def _last_stage(self) -> int:
        """0 where the large model may not write."""
        return len(self._allowance.caps) if self._llm.handle is not None else 0

    def _start_llm(self) -> None:
        caps = tuple(self._allowance.llm_caps)
        if self._llm.handle is None and caps and not self._state.is_cancelled:
            step = self._input.step(LLM, max_tokens=caps)
            self._llm.start(replace(step, is_alone=self._plan.is_llm_alone))

    async def _visit(self, stage: int) -> Stop | None:
        """Gather evidence: attempts of small models where they are due, else, or where no check could tell, a score."""
        if self._attempts.are_due(stage) and await self._stages.is_written(stage):
            if stop := await self._attempt(stage):
                return stop
            if self._answers.have_failed_at(stage):
                return None
        return await self._stages.score(stage) if self._stages.is_scored(stage) else None

    async def _attempt(self, stage: int) -> Stop | None:
        """It ends early when the large model has answered meanwhile, and its answer passes where it can be checked."""
        attempt = asyncio.create_task(self._attempts.run(stage))
        if self._llm.handle is not None:
            await workflow.wait([attempt, self._llm.handle], return_when=asyncio.FIRST_COMPLETED)
            if not attempt.done() and self._llm.has_answered and await self._llm_suffices() and not attempt.done():
                await self._attempts.end()
        return await attempt

    async def _llm_suffices(self) -> bool:
        """Small models that are to say the same are not better than the large one; a checked answer may be."""
        if self._plan.trial.agree:
            return True
        return (await self._answers.check_llm(self._llm.text)).verdict is Verdict.PASS

    async def _answer(self, stop: Stop) -> GenerationOutcome | None:
        """The small model's answer, of a trial or written now; None where the large model's own is used."""
        if stop.reason is StopReason.LLM_FINISHED:
            return None
        if stop.reason is StopReason.LLM_UNAVAILABLE and not self._may_do_without_llm:
            raise self._llm.failure
        if stop.reason is StopReason.UNVERIFIED_BEST:
            return self._answers.better_than_llm()
        tried = self._answers.at(stop) or self._attempts.agreed
        return tried or await self._slm.answer(stop.stage)

    @property
    def _may_do_without_llm(self) -> bool:
        """A stage that was scored is evidence; beyond that the profile says whether another model may answer."""
        is_scored = any(score.stage and score.score is not None for score in self._state.scores)
        return is_scored or self._plan.when_unavailable == "small"

    async def _when_no_stage_passed(self) -> Stop:
        reason = StopReason.BEST_STAGE
        if self._state.is_cancelled:
            reason = StopReason.CANCELLED
        elif self._llm.handle is not None:
            await workflow.wait([self._llm.handle])
            # One that was to finish has answered even if its cap cut it off: the result is then not `complete`.
            may_finish = self._allowance.finish is not None
            if self._llm.has_answered or (may_finish and self._llm.has_succeeded):
                self._state.has_llm_answered = True
                return await self._answers.judge_llm(self._llm.text, self._llm.last_stage, self._llm.message)
            if not self._llm.has_succeeded:
                reason = StopReason.LLM_UNAVAILABLE
        if self._allowance.is_limited and reason is StopReason.BEST_STAGE:
            reason = StopReason.BUDGET
        return fall_back(self._state.scores, self._stages.thresholds, reason)
