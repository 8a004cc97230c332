"""The end of a request: all token counts, the result, its bill, and who hears of it."""

from __future__ import annotations

import zlib
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from services.shared.process.search_attributes import at_end
    from tandem.method.errors import LLM_UNAVAILABLE, NOT_AGAIN, SLM_UNAVAILABLE
    from tandem.method.evidence.checks import TrialPlan
    from tandem.method.names import sampled_id
    from tandem.method.request.beside import BesideInput
    from tandem.method.request.job import Job
    from tandem.method.request.learning import Learning
    from tandem.method.request.result import Overhead, Served, ShadowInput, SolveResult, Stop, StopReason
    from tandem.method.request.tasks import GenerationOutcome, Payer
    from tandem.method.roles import LLM, SLM, SMALL_ROLES, title
    from workflows.activities.learning import LearningActivities
    from workflows.activities.publishing import PublishingActivities
    from workflows.activities.scoring import ScoringActivities
    from workflows.activities.shadow import ShadowActivities
    from workflows.attempts import Attempts, asked_together
    from workflows.calls import NO_LOG, ActivityCalls, cause_of
    from workflows.request_state import RequestState
    from workflows.small_model import SmallModel
    from workflows.stages import Stages


class Settlement:
    def __init__(
        self, state: RequestState, calls: ActivityCalls, slm: SmallModel, stages: Stages, attempts: Attempts
    ) -> None:
        self._state, self._calls, self._slm, self._stages, self._attempts = state, calls, slm, stages, attempts

    async def settle(self, stop: Stop, answer: GenerationOutcome | None) -> SolveResult:
        result = await self._result(stop, answer)
        published = await self._publish(result, failed=False)
        if published:
            # A cancel came just after the end had been published, and this step runs again: the first result is final.
            result = published
            self._make_searchable(result)
        if self._is_shadowed(result):
            await self._calls.locally(ShadowActivities.start_shadow, self._shadow(result))
        plan = self._state.plan
        if plan.learning and result.complete and result.stop.reason is not StopReason.CANCELLED:
            await self._teach(plan.learning, result)
        return result

    async def _teach(self, learning: Learning, result: SolveResult) -> None:
        """What the request teaches the promise; the caller has its answer."""
        if learning.serving(self._kind) and self._state.trials:
            is_answered = result.stop.reason is StopReason.VERIFIED
            await self._calls.locally(LearningActivities.count_served, self._kind, is_answered)
        if learning.is_sampled:
            await self._calls.locally(LearningActivities.start_beside, self._asked_beside(learning, result))

    @property
    def _kind(self) -> str:
        """Where tools are offered the first small model tells it; empty where it has said nothing that does."""
        kind, calls = self._state.input.request.kind, self._attempts.first_calls
        if kind != "tools":
            return kind
        return "" if calls is None else "tools" if calls else "no_call"

    def _asked_beside(self, learning: Learning, result: SolveResult) -> BesideInput:
        plan, known = self._state.plan, dict(self._attempts.whole)
        if result.answered_by == LLM and self._state.insight:
            known[LLM] = self._state.insight
        cap = plan.answer_max_tokens if plan.may_call else learning.max_tokens
        trial = TrialPlan([0], max_tokens=cap)
        steps = [
            self._slm.trial_step(role, 0, number, trial)
            for number, role in enumerate(SMALL_ROLES[: learning.small_models], 1)
        ]
        return BesideInput(self._beside, asked_together(steps, sampled_id(result.request_id)), known)

    async def failure(self, stop: Stop, error: FailureError, of_llm: FailureError | None) -> ApplicationError:
        """The request ends without an answer, but not without its bill, which the error carries with what a model's API
        has said. Where the large model failed (`of_llm`), that is the cause, also where a small one has failed then.
        """
        failed, role, reason = (of_llm, LLM, LLM_UNAVAILABLE) if of_llm else (error, SLM, SLM_UNAVAILABLE)
        if error is not of_llm:
            self._state.notes.append(f"the small model failed: {cause_of(error)}")
        result = await self._result(stop, None)
        await self._publish(result, failed=True)
        cause = failed.cause if isinstance(failed.cause, ApplicationError) else ApplicationError(cause_of(failed))
        return ApplicationError(
            f"no answer: the {title(role)} model {self._state.plan.models[role].name!r} failed: {cause_of(failed)}",
            result,
            *cause.details[1:],
            type=cause.type if cause.type in NOT_AGAIN else reason,
            non_retryable=True,
            next_retry_delay=cause.next_retry_delay,
        )

    async def _publish(self, result: SolveResult, *, failed: bool) -> SolveResult | None:
        source = self._state.input
        # The day of the request's beginning, as its hold was: a request belongs to one day, however long it takes.
        day = self._state.started_at.strftime("%Y-%m-%d") if source.bound else ""
        published: SolveResult | None = await self._calls.locally(
            PublishingActivities.publish_result,
            result,
            failed,
            Payer(source.request.tenant, day, source.request.session),
        )
        return published

    async def _result(self, stop: Stop, answer: GenerationOutcome | None) -> SolveResult:
        await self._count_lost_scores()
        await self._slm.collect_prefills()
        result = replace(self._state.result(stop, answer, workflow.now()), overhead=self._overhead())
        self._make_searchable(result)
        return result

    def _overhead(self) -> Overhead:
        """The request's start, its activities, the upsert of search attributes and the result's own marker are actions
        (docs.temporal.io/cloud/actions).
        """
        info = workflow.info()
        return Overhead(
            temporal_actions=self._calls.num_actions + 2 + self._state.input.is_searchable,
            temporal_events=info.get_current_history_length(),
            history_bytes=info.get_current_history_size(),
        )

    async def _count_lost_scores(self) -> None:
        if not self._stages.has_lost_a_score:
            return
        logged = await self._calls.locally(ScoringActivities.all_scoring_passes, self._state.input.request_id)
        if logged is None:
            self._state.note_lost_tokens("scorer", NO_LOG)
        else:
            self._state.logged_scoring = logged

    def _make_searchable(self, result: SolveResult) -> None:
        if self._state.input.is_searchable:
            workflow.upsert_search_attributes(at_end(result))

    def _is_shadowed(self, result: SolveResult) -> bool:
        return _is_drawn(result, self._state.plan.shadow_share) and result.stop.reason is not StopReason.CANCELLED

    def _shadow(self, result: SolveResult) -> ShadowInput:
        finished = result.stop.reason is StopReason.LLM_FINISHED
        return ShadowInput(self._beside, _served(result), self._state.llm_answer if finished else None)

    @property
    def _beside(self) -> Job:
        """The job of what is asked beside the request: no body is passed on for it."""
        return replace(self._state.input, request=replace(self._state.input.request, native=None))


def _served(result: SolveResult) -> Served:
    cost = result.cost
    return Served(result.answer, result.tool_calls, cost.usd, cost.usd_llm_alone, result.stop.score)


def _is_drawn(result: SolveResult, share: float) -> bool:
    """Of a share of the answered requests, drawn by id: the same whenever it is asked."""
    return result.complete and zlib.crc32(result.request_id.encode()) / 2**32 < share
