"""What a caller sees: events, the result, profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message_factory import GetMessageClass

from tandem.convert.messages import to_pb
from tandem.convert.values import counts_to_pb, prices_to_pb, role_to_pb
from tandem.method.request.events import SolveEvent
from tandem.method.request.result import SolveResult
from tandem.method.request.timeline import Timeline
from tandem.v1 import tandem_pb2

if TYPE_CHECKING:
    from tandem.method.profile.profile import Profile


_ONEOF: Any = tandem_pb2.SolveEvent.DESCRIPTOR.oneofs_by_name["event"]
_EVENTS = {field.name: GetMessageClass(field.message_type) for field in _ONEOF.fields}


def event_to_pb(cursor: str, event: SolveEvent) -> tandem_pb2.SolveEvent:
    if isinstance(event, SolveResult):
        return tandem_pb2.SolveEvent(cursor=cursor, completed=result_to_pb(event))
    message: Any = {event.kind: to_pb(event, _EVENTS[event.kind])}
    return tandem_pb2.SolveEvent(cursor=cursor, **message)


def result_to_pb(result: SolveResult) -> tandem_pb2.SolveResult:
    models = result.models
    usage = {role: counts_to_pb(models[role], counts) for role, counts in result.usage.items()}
    trials = [to_pb(t, tandem_pb2.Trial, usage=counts_to_pb(models[t.role], t.usage)) for t in result.trials]
    usd = tandem_pb2.UsdByRole(**{"second_slm": 0.0, **result.cost.usd_by_role})
    return to_pb(
        result,
        tandem_pb2.SolveResult,
        cost=to_pb(result.cost, tandem_pb2.Cost, usd_by_role=usd),
        usage=tandem_pb2.UsageByRole(**usage),
        trials=trials,
        second_slm=models.get("second_slm", ""),
        text=result.text or result.answer,
    )


def timeline_to_pb(request_id: str, timeline: Timeline) -> tandem_pb2.GetTimelineResponse:
    return to_pb(
        timeline,
        tandem_pb2.GetTimelineResponse,
        request_id=request_id,
        started_at_unix_ms=timeline.started_at,
        duration_ms=timeline.duration,
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
