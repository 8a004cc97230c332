"""What a caller sees: events, the result, profiles."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tandem.convert.outcomes import check_result_to_pb
from tandem.convert.values import call_to_pb, counts_to_pb, prices_to_pb, role_to_pb, stop_reason_to_pb, verdict_to_pb
from tandem.method.evidence.checks import Trial
from tandem.method.request.events import AnswerDelta, Checked, InsightDelta, LlmStopped, Restarted, SolveEvent
from tandem.method.request.result import Cost, ShadowResult, SolveResult
from tandem.method.request.timeline import Timeline
from tandem.v1 import tandem_pb2

if TYPE_CHECKING:
    from tandem.method.profile.profile import Profile


def event_to_pb(cursor: str, event: SolveEvent) -> tandem_pb2.SolveEvent:
    if isinstance(event, InsightDelta):  # most events are text: the shortest way for them
        delta = tandem_pb2.InsightDelta(text=event.text, tokens=event.tokens, said=event.said, native=event.native)
        return tandem_pb2.SolveEvent(cursor=cursor, insight_delta=delta)
    if isinstance(event, AnswerDelta):
        return tandem_pb2.SolveEvent(
            cursor=cursor, answer_delta=tandem_pb2.AnswerDelta(text=event.text, tokens=event.tokens, said=event.said)
        )
    if isinstance(event, SolveResult):
        return tandem_pb2.SolveEvent(cursor=cursor, completed=result_to_pb(event))
    if isinstance(event, Checked):
        return tandem_pb2.SolveEvent(cursor=cursor, checked=check_result_to_pb(event))
    fields: dict[str, Any] = asdict(event)
    if isinstance(event, LlmStopped):
        fields["reason"] = stop_reason_to_pb(event.reason)
    if isinstance(event, Restarted):
        fields["role"] = role_to_pb(event.role)
    message: Any = {event.kind: fields}
    return tandem_pb2.SolveEvent(cursor=cursor, **message)


def result_to_pb(result: SolveResult) -> tandem_pb2.SolveResult:
    return tandem_pb2.SolveResult(
        request_id=result.request_id,
        profile=result.profile,
        question=result.question,
        answer=result.answer,
        reasoning=result.reasoning,
        stop=tandem_pb2.Stop(**(asdict(result.stop) | {"reason": stop_reason_to_pb(result.stop.reason)})),
        stages=[tandem_pb2.StageResult(**asdict(stage)) for stage in result.stages],
        usage=tandem_pb2.UsageByRole(**_by_role(result)),
        cost=_cost_to_pb(result.cost),
        timings_ms=tandem_pb2.Timings(**asdict(result.timings_ms)),
        trace_id=result.trace_id,
        attempts=result.attempts,
        complete=result.complete,
        notes=result.notes,
        checks=[check_result_to_pb(check) for check in result.checks],
        trials=[_trial_to_pb(trial, result.models[trial.role]) for trial in result.trials],
        answered_by=role_to_pb(result.answered_by) if result.answered_by else tandem_pb2.ROLE_UNSPECIFIED,
        tool_calls=[call_to_pb(call) for call in result.tool_calls],
        policy_step=result.policy_step,
        second_slm=result.models.get("second_slm", ""),
        overhead=tandem_pb2.Overhead(**asdict(result.overhead)),
        answered_calls=[call_to_pb(call) for call in result.answered_calls],
        text=result.text or result.answer,
    )


def _by_role(result: SolveResult) -> dict[str, Any]:
    return {role: counts_to_pb(result.models[role], counts) for role, counts in result.usage.items()}


def _cost_to_pb(cost: Cost) -> tandem_pb2.Cost:
    by_role = {"second_slm": 0.0, **cost.usd_by_role}
    return tandem_pb2.Cost(**(asdict(cost) | {"usd_by_role": tandem_pb2.UsdByRole(**by_role)}))


def _trial_to_pb(trial: Trial, model: str) -> tandem_pb2.Trial:
    return tandem_pb2.Trial(
        number=trial.number,
        stage=trial.stage,
        repair=trial.repair,
        verdict=verdict_to_pb(trial.verdict),
        usage=counts_to_pb(model, trial.usage),
        usd=trial.usd,
        check_seconds=trial.check_seconds,
        role=role_to_pb(trial.role),
    )


def shadow_to_pb(shadow: ShadowResult) -> tandem_pb2.Shadow:
    return tandem_pb2.Shadow(**asdict(shadow))


def timeline_to_pb(request_id: str, timeline: Timeline) -> tandem_pb2.GetTimelineResponse:
    steps = [
        tandem_pb2.Step(**asdict(step) | {"outcome": f"STEP_OUTCOME_{step.outcome.upper()}"}) for step in timeline.steps
    ]
    return tandem_pb2.GetTimelineResponse(
        request_id=request_id,
        started_at_unix_ms=timeline.started_at,
        duration_ms=timeline.duration,
        taken=timeline.taken,
        steps=steps,
    )


def profile_to_pb(profile: Profile) -> tandem_pb2.Profile:
    return tandem_pb2.Profile(
        name=profile.name,
        description=profile.description,
        llm=profile.llm.name,
        slm=profile.slm.name,
        handoff=profile.handoff,
        stages=[
            tandem_pb2.ProfileStage(name=s.name, max_tokens=s.max_tokens, threshold=s.threshold) for s in profile.stages
        ],
        scorer=profile.stop.scorer,
        scorer_trained=profile.stop.is_trained,
        max_question_tokens=profile.max_question_tokens,
        max_conversation_tokens=profile.max_conversation_tokens or profile.max_question_tokens,
        price_version=profile.prices.version,
        checks=tandem_pb2.ProfileChecks(**profile.checks.model_dump()),
        trial_stages=profile.trial.stages,
        trial_mode=profile.trial.mode,
        prices=tandem_pb2.ProfilePrices(
            **{role: prices_to_pb(prices) for role, prices in profile.prices.by_role.items()}
        ),
        llm_alone_code_output_tokens=profile.llm_alone.tokens("code"),
        llm_alone_output_tokens=profile.llm_alone.tokens("answer"),
        second_slm=profile.small[1].name if len(profile.small) > 1 else "",
        trial_order=[role_to_pb(role) for role in profile.trial_order if len(profile.small) > 1],
        small_models=[model.name for model in profile.small],
    )
