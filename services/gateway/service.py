"""tandem.v1.TandemService: convert, call, convert."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import grpc

from services.gateway.admission import Admission, request_fingerprint
from services.gateway.event_stream import Position
from services.gateway.query import visibility_query
from services.gateway.readers import Limits, Readers
from services.gateway.temporal import AdmittedRequest, Listed, Status, Workflows
from services.observability.tracing import current_trace_id
from services.request_log.decisions import RESULT_SLOT
from services.request_log.log import RequestLog
from tandem.convert.requests import solve_request_from_pb
from tandem.convert.results import event_to_pb, profile_to_pb, result_to_pb, shadow_to_pb
from tandem.convert.values import stop_reason_to_pb
from tandem.method.errors import InvalidArgument, TandemError
from tandem.method.result import ShadowResult, StopReason
from tandem.v1 import tandem_pb2, tandem_pb2_grpc

NAME = tandem_pb2.DESCRIPTOR.services_by_name["TandemService"].full_name
_LIST, _MAX_LIST = 20, 1000
_STATES = {
    "running": tandem_pb2.REQUEST_STATE_RUNNING,
    "completed": tandem_pb2.REQUEST_STATE_COMPLETED,
    "failed": tandem_pb2.REQUEST_STATE_FAILED,
}


class TandemService(tandem_pb2_grpc.TandemServiceServicer):
    def __init__(self, admission: Admission, workflows: Workflows, log: RequestLog, limits: Limits) -> None:
        self._admission, self._workflows, self._log = admission, workflows, log
        self._readers = Readers(workflows, log, limits)

    def drain(self) -> None:
        self._readers.drain()

    async def Solve(
        self, request: tandem_pb2.SolveRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[tandem_pb2.SolveEvent]:
        position = _position(request.resume_after)
        with self._readers.admitted() as reader:
            try:
                admitted = await self._start_or_join(request)
                yield _accepted(admitted, str(position))
                async with aclosing(reader.read(admitted, position)) as events:
                    async for event in events:
                        yield event_to_pb(event.cursor, event.event)
            except (asyncio.CancelledError, GeneratorExit):
                if request.request_id and not request.keep_running:
                    reader.leave(request.request_id)
                raise

    async def GetRequest(
        self, request: tandem_pb2.GetRequestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.GetRequestResponse:
        status = await self._status(_required_id(request.request_id))
        shadow = await self._shadow(request.request_id, status)
        return tandem_pb2.GetRequestResponse(
            request_id=request.request_id,
            state=_state(status),
            result=result_to_pb(status.result) if status.result else None,
            error=status.error,
            shadow=shadow_to_pb(shadow) if shadow else None,
        )

    async def CancelRequest(
        self, request: tandem_pb2.CancelRequestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.CancelRequestResponse:
        status = await self._status(_required_id(request.request_id))
        if status.state == "running":
            await self._workflows.cancel(request.request_id)
        return tandem_pb2.CancelRequestResponse(request_id=request.request_id, state=_state(status))

    async def ListRequests(
        self, request: tandem_pb2.ListRequestsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.ListRequestsResponse:
        if request.limit > _MAX_LIST:
            raise InvalidArgument(f"at most {_MAX_LIST} requests are listed at once", field="limit")
        found = await self._workflows.list(visibility_query(request.where), request.limit or _LIST)
        return tandem_pb2.ListRequestsResponse(requests=[_summary(listed) for listed in found])

    async def ListProfiles(
        self, request: tandem_pb2.ListProfilesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.ListProfilesResponse:
        profiles = [profile_to_pb(p) for p in self._admission.profiles.values()]
        return tandem_pb2.ListProfilesResponse(profiles=profiles, default_profile=self._admission.default)

    async def _start_or_join(self, request: tandem_pb2.SolveRequest) -> AdmittedRequest:
        """Start the request, or join it; an id without a question joins what there is."""
        if request.request_id and not request.question:
            return await self._workflows.join(request.request_id)
        task = self._admission.admit(solve_request_from_pb(request), current_trace_id())
        request.request_id = task.request_id
        return await self._workflows.start_or_join(task, request_fingerprint(task))

    async def _status(self, request_id: str) -> Status:
        """As Temporal has it; a request whose result is published ends in Temporal a moment later, and is waited for."""
        status = await self._workflows.status(request_id)
        if status.state == "running":
            with suppress(TandemError):
                if await self._log.decisions.get(request_id, RESULT_SLOT):
                    return Status("completed", await self._workflows.result(request_id))
        return status

    async def _shadow(self, request_id: str, status: Status) -> ShadowResult | None:
        profile = self._admission.profiles.get(status.result.profile) if status.result else None
        return await self._workflows.shadow(request_id) if profile and profile.shadow.share else None


# -- in ---------------------------------------------------------------------------------------------------------------


def _position(cursor: str) -> Position:
    try:
        return Position.parse(cursor)
    except ValueError:
        raise InvalidArgument(f"{cursor!r} is not the cursor of an event", field="resume_after") from None


def _required_id(request_id: str) -> str:
    if not request_id:
        raise InvalidArgument("a request id is needed", field="request_id")
    return request_id


# -- out --------------------------------------------------------------------------------------------------------------


def _accepted(request: AdmittedRequest, cursor: str) -> tandem_pb2.SolveEvent:
    accepted = tandem_pb2.Accepted(
        request_id=request.request_id, trace_id=request.trace_id, profile=request.profile, stages=len(request.stages)
    )
    return tandem_pb2.SolveEvent(cursor=cursor, accepted=accepted)


def _summary(listed: Listed) -> tandem_pb2.RequestSummary:
    found = listed.attributes
    reason = found.get("reason")
    is_cancelled = listed.state == "completed" and reason == StopReason.CANCELLED
    return tandem_pb2.RequestSummary(
        request_id=listed.request_id,
        state=tandem_pb2.REQUEST_STATE_CANCELLED if is_cancelled else _STATES[listed.state],
        profile=listed.profile,
        tenant=listed.tenant,
        started_at_unix_ms=listed.started_at.timestamp() * 1000,
        usd=found.get("cost"),
        saved_ratio=found.get("saved"),
        stage=found.get("stage"),
        reason=stop_reason_to_pb(reason) if reason else tandem_pb2.STOP_REASON_UNSPECIFIED,
        trace_id=listed.trace_id,
    )


def _state(status: Status) -> tandem_pb2.RequestState.ValueType:
    is_over = status.state == "completed" and status.result is not None
    if is_over and status.result and status.result.stop.reason is StopReason.CANCELLED:
        return tandem_pb2.REQUEST_STATE_CANCELLED
    return _STATES[status.state]
