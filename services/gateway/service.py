"""tandem.v1.TandemService: convert, call, convert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import grpc
from opentelemetry import trace

from services.gateway.admission import Admission, check_request_id
from services.gateway.bounds import check_where
from services.gateway.event_stream import Position
from services.gateway.learning import Learner
from services.gateway.outcomes import Call
from services.gateway.policies import Policies
from services.gateway.promises import Outcomes
from services.gateway.readers import Limits, Readers
from services.gateway.scope import scope
from services.gateway.starting import Starting
from services.gateway.states import States
from services.gateway.temporal import AdmittedRequest, Status, Workflows
from services.gateway.tenancy import LimitUse, Tenancy
from services.gateway.visibility import Listed, PageToken, visibility_query
from services.shared.identity.caller import Caller, current_caller
from services.shared.identity.turns import LookUps, Turns, takes_turn
from services.shared.observability.spans import set_attributes
from services.shared.request_log.log import RequestLog
from tandem.convert.messages import to_pb
from tandem.convert.results import event_to_pb, profile_to_pb, result_to_pb, timeline_to_pb
from tandem.convert.values import stop_reason_to_pb
from tandem.method.errors import FailedPrecondition, InvalidArgument
from tandem.method.names import BESIDE_WORKFLOW, SHADOW_WORKFLOW, SOLVE_WORKFLOW
from tandem.method.request.result import SolveResult, StopReason
from tandem.method.rule.stop_rule import member_of
from tandem.v1 import tandem_pb2, tandem_pb2_grpc

NAME = tandem_pb2.DESCRIPTOR.services_by_name["TandemService"].full_name
_LIST, _MOST_LISTED = 20, 100
_STATES = {
    "running": tandem_pb2.REQUEST_STATE_RUNNING,
    "completed": tandem_pb2.REQUEST_STATE_COMPLETED,
    "failed": tandem_pb2.REQUEST_STATE_FAILED,
}


class TandemService(tandem_pb2_grpc.TandemServiceServicer):
    def __init__(
        self,
        admission: Admission,
        workflows: Workflows,
        log: RequestLog,
        limits: Limits,
        tenancy: Tenancy,
        end_slowest: Callable[[], bool] = lambda: False,
    ) -> None:
        self._admission, self._workflows, self._log, self._tenancy = admission, workflows, log, tenancy

        def keep_days(tenant: str) -> int:
            return tenancy.tenants.keep_days(tenant)

        self.policies = Policies(admission.profiles, log.promises, keep_days)
        self.learner = Learner(
            admission.profiles, log.learned, lambda tenant: tenancy.tenants.limits(tenant), tenancy.is_on
        )
        self._turns = Turns(limits.max_starting)
        self.look_ups = LookUps(limits.max_starting, keeps_pace=tenancy.is_on)
        self._states = States(admission.profiles, workflows, log)
        self._starting = Starting(
            admission,
            workflows,
            tenancy,
            self.policies,
            self.learner,
            log.sessions,
            log.bodies,
            self._states,
            self.look_ups,
        )
        self._outcomes = Outcomes(
            admission.profiles, self.policies, log.promises, workflows, self._states, keep_days, tenancy.clock
        )
        self._readers = Readers(workflows, log, limits, end_slowest)

    def drain(self) -> None:
        self._readers.drain()

    async def Solve(
        self, request: tandem_pb2.SolveRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[tandem_pb2.SolveEvent]:
        asked = member_of(request.profile)[0] or self._admission.default
        with Call(asked if asked in self._admission.profiles else "unknown", context.time_remaining) as call:
            async with aclosing(self._solve(request)) as events:
                async for event in events:
                    call.saw(event)
                    yield event

    async def _solve(self, request: tandem_pb2.SolveRequest) -> AsyncGenerator[tandem_pb2.SolveEvent, None]:
        caller, position = current_caller(), _position(request.resume_after)
        scope(request, caller)
        await self._readers.make_room()
        with self._readers.admitted(request.tenant, shares=self._tenancy.is_on) as reader:
            found = await self._starting.found(request)
            waits = self._tenancy.is_on and found is None
            sign = partial(self._readers.sign_of_work, request.request_id)
            async with self._turns.turn(request.tenant, waits=waits, sign=sign) as turn:
                is_admitted = False
                try:
                    admitted = found or await self._starting.start_or_join(request)
                    is_admitted = True
                    set_attributes(trace.get_current_span(), {"tandem.session": admitted.session or None})
                    spent, told = await self._starting.spent(admitted), self._admission.tells_effort(admitted.profile)
                    yield _accepted(admitted, str(position), caller, spent, tells_effort=told)
                    async with aclosing(reader.read(admitted, position)) as events:
                        async for event in events:
                            turn.end_soon()
                            yield event_to_pb(event.cursor, _for(caller, event.event))
                except (asyncio.CancelledError, GeneratorExit):
                    if request.request_id:
                        reader.leave(request.request_id, keep_running=request.keep_running)
                    raise
                except Exception:
                    if is_admitted:  # else the id may be somebody else's
                        reader.leave(request.request_id, keep_running=request.keep_running)
                    else:
                        turn.end()
                        await self.look_ups.slow_down(request.tenant, request.ByteSize())
                    raise

    @takes_turn
    async def GetRequest(
        self, request: tandem_pb2.GetRequestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.GetRequestResponse:
        caller = current_caller()
        request_id = caller.internal_id(_required_id(request.request_id))
        status = await self._states.status(request_id)
        shadow = await self._states.shadow(request_id, status)
        return tandem_pb2.GetRequestResponse(
            request_id=request.request_id,
            state=_state(status),
            result=result_to_pb(_for(caller, status.result)) if status.result else None,
            error=status.error,
            shadow=to_pb(shadow, tandem_pb2.Shadow) if shadow else None,
        )

    @takes_turn
    async def GetTimeline(
        self, request: tandem_pb2.GetTimelineRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.GetTimelineResponse:
        request_id = current_caller().internal_id(_required_id(request.request_id))
        return timeline_to_pb(request.request_id, await self._workflows.timeline(request_id))

    @takes_turn
    async def CancelRequest(
        self, request: tandem_pb2.CancelRequestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.CancelRequestResponse:
        request_id = current_caller().internal_id(_required_id(request.request_id))
        status = await self._states.status(request_id)
        if status.state == "running":
            await self._workflows.cancel(request_id)
        return tandem_pb2.CancelRequestResponse(request_id=request.request_id, state=_state(status))

    @takes_turn
    async def DeleteRequest(
        self, request: tandem_pb2.DeleteRequestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.DeleteRequestResponse:
        request_id = current_caller().internal_id(_required_id(request.request_id))
        if (await self._states.status(request_id)).state == "running":
            raise FailedPrecondition("the request still runs; cancel it first", reason="REQUEST_RUNS")
        # What is left to do for its bill is read from what would be deleted.
        ended = await self._workflows.join(request_id)
        if self._tenancy.is_on and await self._tenancy.is_held(ended):
            raise FailedPrecondition(
                "the request's bill is not on its account yet; try again in a minute", reason="BILL_OPEN"
            )
        await self._log.promises.forget(ended.tenant, request_id)
        await self._log.learned.forget(ended.tenant, request_id)
        await self._log.disputes.forget(ended.tenant, request_id)
        await self._workflows.delete(request_id, self._log)
        return tandem_pb2.DeleteRequestResponse(request_id=request.request_id)

    @takes_turn
    async def ListRequests(
        self, request: tandem_pb2.ListRequestsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.ListRequestsResponse:
        check_where(request.where)
        caller = current_caller()
        kinds = (SHADOW_WORKFLOW, BESIDE_WORKFLOW) if request.shadows else (SOLVE_WORKFLOW,)
        query = visibility_query(request.where, "" if caller.sees_all else caller.tenant, *kinds)
        after = PageToken.parse(request.page_token) if request.page_token else None
        size = min(request.limit or _LIST, _MOST_LISTED)
        found, following = await self._workflows.visibility.newest(query, size, after)
        return tandem_pb2.ListRequestsResponse(
            requests=[_summary(listed, caller) for listed in found], next_page_token=str(following or "")
        )

    async def ListProfiles(
        self, request: tandem_pb2.ListProfilesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.ListProfilesResponse:
        caller = current_caller()
        usable = {
            name: profile_to_pb(profile)
            for name, profile in self._admission.profiles.items()
            if caller.sees_all or self._tenancy.may_use(caller.tenant, name)
        }
        default = self._admission.default if self._admission.default in usable else ""
        return tandem_pb2.ListProfilesResponse(profiles=usable.values(), default_profile=default)

    @takes_turn
    async def CountTokens(
        self, request: tandem_pb2.CountTokensRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.CountTokensResponse:
        asked = request.request
        scope(asked, current_caller())
        permitted = self._tenancy.permit(self._admission.checked(asked), asked.profile or self._admission.default)
        tokens, most = await asyncio.to_thread(self._admission.count, permitted)
        return tandem_pb2.CountTokensResponse(tokens=tokens, most=most)

    @takes_turn
    async def ListTenants(
        self, request: tandem_pb2.ListTenantsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.ListTenantsResponse:
        used = await self._tenancy.used(current_caller())
        return tandem_pb2.ListTenantsResponse(tenants=[_tenant_use(tenant, uses) for tenant, uses in used.items()])

    @takes_turn
    async def ReportOutcome(
        self, request: tandem_pb2.ReportOutcomeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.ReportOutcomeResponse:
        request_id = current_caller().internal_id(_required_id(request.request_id))
        return await self._outcomes.report(request, request_id, await self._states.status(request_id))

    @takes_turn
    async def ListPromises(
        self, request: tandem_pb2.ListPromisesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.ListPromisesResponse:
        found = await self._outcomes.standings(current_caller(), request.tenant, with_outcomes=request.with_outcomes)
        return tandem_pb2.ListPromisesResponse(policies=found)


# -- in ---------------------------------------------------------------------------------------------------------------


def _position(cursor: str) -> Position:
    try:
        return Position.parse(cursor)
    except ValueError:
        raise InvalidArgument(f"{cursor!r} is not the cursor of an event", field="resume_after") from None


def _required_id(request_id: str) -> str:
    if not request_id:
        raise InvalidArgument("a request id is needed", field="request_id")
    return check_request_id(request_id)


# -- out --------------------------------------------------------------------------------------------------------------


E = TypeVar("E")


def _for(caller: Caller, event: E) -> E:
    """Return a result under the id by which the caller knows it; any other event as it is."""
    if isinstance(event, SolveResult):
        return replace(event, request_id=caller.public_id(event.request_id))
    return event


def _accepted(
    request: AdmittedRequest, cursor: str, caller: Caller, session_usd: float | None, *, tells_effort: bool
) -> tandem_pb2.SolveEvent:
    accepted = tandem_pb2.Accepted(
        request_id=caller.public_id(request.request_id),
        trace_id=request.trace_id,
        profile=request.profile,
        stages=len(request.stages),
        answer_text=tandem_pb2.AnswerText.Value(f"ANSWER_TEXT_{request.answer_text.upper()}"),
        session=request.session,
        session_usd=session_usd,
        native=request.native,
        dropped=request.dropped,
        tells_effort=tells_effort,
    )
    return tandem_pb2.SolveEvent(cursor=cursor, accepted=accepted)


def _summary(listed: Listed, caller: Caller) -> tandem_pb2.RequestSummary:
    found = listed.attributes
    reason = found.get("reason")
    is_cancelled = listed.state == "completed" and reason == StopReason.CANCELLED
    return tandem_pb2.RequestSummary(
        request_id=caller.public_id(listed.request_id),
        state=tandem_pb2.REQUEST_STATE_CANCELLED if is_cancelled else _STATES[listed.state],
        profile=listed.profile,
        tenant=listed.tenant,
        started_at_unix_ms=listed.started_at.timestamp() * 1000,
        usd=found.get("cost"),
        saved_ratio=found.get("saved"),
        stage=found.get("stage"),
        reason=stop_reason_to_pb(reason or ""),
        trace_id=listed.trace_id,
        question=listed.question,
        tool=listed.tool,
        session=listed.session,
        duration_ms=None if listed.ended_at is None else (listed.ended_at - listed.started_at).total_seconds() * 1000,
    )


def _tenant_use(tenant: str, uses: list[LimitUse]) -> tandem_pb2.TenantUse:
    limits = [
        tandem_pb2.LimitUse(
            limit=each.limit,
            used=each.used,
            most=each.most,
            resets_at_unix_ms=each.resets_at.timestamp() * 1000 if each.resets_at else None,
        )
        for each in uses
    ]
    return tandem_pb2.TenantUse(tenant=tenant, limits=limits)


def _state(status: Status) -> tandem_pb2.RequestState.ValueType:
    is_over = status.state == "completed" and status.result is not None
    if is_over and status.result and status.result.stop.reason is StopReason.CANCELLED:
        return tandem_pb2.REQUEST_STATE_CANCELLED
    return _STATES[status.state]
