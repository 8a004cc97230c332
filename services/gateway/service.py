"""tandem.v1.TandemService: convert, call, convert."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
from google.protobuf.json_format import ParseDict
from opentelemetry import trace
from temporalio.converter import value_to_type

from services.gateway.admission import Admission, Asked, fingerprint
from services.gateway.conversation import Conversation, Event, Position
from services.gateway.query import visibility_query
from services.gateway.temporal import Conducted, Listed, Status, Workflows
from services.observability.metrics import STREAMS
from services.observability.spans import describe_result, set_attributes
from services.observability.tracing import current_trace_id
from services.process.convert import sampling_arguments, task_name
from services.request_log.log import RequestLog
from tandem.method.errors import InvalidArgument, ResourceExhausted, TandemError
from tandem.method.profile import Profile
from tandem.method.sampling import Sampling
from tandem.method.shared import SLOT_COMPLETED, Budget, SolveResult
from tandem.v1 import tandem_pb2, tandem_pb2_grpc

NAME = tandem_pb2.DESCRIPTOR.services_by_name["TandemService"].full_name
_LEASE = timedelta(seconds=5)
_RETRY_AFTER_SECONDS = 2.0
_LIST, _LONGEST_LIST = 20, 1000


@dataclass(frozen=True, slots=True)
class Limits:
    max_requests: int
    disconnect_grace: timedelta


class TandemService(tandem_pb2_grpc.TandemServiceServicer):
    def __init__(self, admission: Admission, workflows: Workflows, log: RequestLog, limits: Limits) -> None:
        self._admission, self._workflows, self._log, self._limits = admission, workflows, log, limits
        self._num_streams = 0
        self._is_draining = False
        self._farewells: set[asyncio.Task[None]] = set()

    async def Solve(
        self, request: tandem_pb2.SolveRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[tandem_pb2.SolveEvent]:
        position = _position(request.resume_after)
        if self._num_streams >= self._limits.max_requests:
            raise ResourceExhausted(
                f"{self._num_streams} requests are being served, which is the limit",
                reason="TOO_MANY_REQUESTS",
                retry_after_s=_RETRY_AFTER_SECONDS,
            )
        self._num_streams += 1
        STREAMS.inc()
        watcher, is_over = uuid4().hex, False
        try:
            conducted = await self._conduct(request)
            yield _accepted(conducted, str(position))
            async with aclosing(self._read(conducted, position, watcher)) as events:
                async for event in events:
                    is_over = event.kind == "completed"
                    yield _event(event)
        except (asyncio.CancelledError, GeneratorExit):
            if request.request_id and not (is_over or request.keep_running or self._is_draining):
                self._say_farewell(request.request_id, watcher)
            raise
        finally:
            self._num_streams -= 1
            STREAMS.dec()

    async def GetRequest(
        self, request: tandem_pb2.GetRequestRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.GetRequestResponse:
        status = await self._status(_required_id(request.request_id))
        result = ParseDict(_wire(status.result), tandem_pb2.SolveResult()) if status.result else None
        shadow = await self._shadow(request.request_id, status)
        return tandem_pb2.GetRequestResponse(
            request_id=request.request_id,
            state=_state(status),
            result=result,
            error=status.error,
            shadow=ParseDict(shadow, tandem_pb2.Shadow()) if shadow else None,
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
        if request.limit > _LONGEST_LIST:
            raise InvalidArgument(f"at most {_LONGEST_LIST} requests are listed at once", field="limit")
        found = await self._workflows.list(visibility_query(request.where), request.limit or _LIST)
        return tandem_pb2.ListRequestsResponse(requests=[_summary(listed) for listed in found])

    async def ListProfiles(
        self, request: tandem_pb2.ListProfilesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> tandem_pb2.ListProfilesResponse:
        profiles = [_profile(p) for p in self._admission.profiles.values()]
        return tandem_pb2.ListProfilesResponse(profiles=profiles, default_profile=self._admission.default)

    async def _shadow(self, request_id: str, status: Status) -> dict[str, Any] | None:
        profile = self._admission.profiles.get(status.result["profile"]) if status.result else None
        return await self._workflows.shadow(request_id) if profile and profile.shadow.share else None

    async def _status(self, request_id: str) -> Status:
        """As Temporal has it; a request whose end was told already ends there a moment later, and is waited for."""
        status = await self._workflows.status(request_id)
        if status.state == "running":
            with suppress(TandemError):
                if await self._log.decision(request_id, SLOT_COMPLETED):
                    return Status("completed", await self._workflows.result(request_id))
        return status

    def drain(self) -> None:
        """From now on a stream that breaks is ours, not the client's: its request goes on and is read elsewhere."""
        self._is_draining = True

    async def _conduct(self, request: tandem_pb2.SolveRequest) -> Conducted:
        """Start the request, or join it; an id alone joins what there is."""
        if request.request_id and not request.question:
            return await self._workflows.join(request.request_id)
        task = self._admission.admit(_asked(request), current_trace_id())
        request.request_id = task.request_id
        return await self._workflows.start_or_join(task, fingerprint(task))

    async def _read(self, request: Conducted, position: Position, watcher: str) -> AsyncGenerator[Event, None]:
        conversation = Conversation(self._log, request.request_id, request.stages, position)
        renewed = 0.0

        async def still_there() -> None:
            nonlocal renewed
            if time.time() - renewed > _LEASE.total_seconds() / 3:
                renewed = time.time()
                await self._log.watch(request.request_id, watcher, renewed, _LEASE)

        with suppress(TandemError):
            await still_there()
        async with aclosing(conversation.events(self._workflows.result(request.request_id), still_there)) as events:
            async for event in events:
                if event.kind == "completed":
                    describe_result(trace.get_current_span(), value_to_type(SolveResult, event.payload))
                    set_attributes(trace.get_current_span(), {"tandem.tenant.id": request.tenant or None})
                yield event

    def _say_farewell(self, request_id: str, watcher: str) -> None:
        farewell = asyncio.create_task(self._cancel_when_nobody_watches(request_id, watcher))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)

    async def _cancel_when_nobody_watches(self, request_id: str, watcher: str) -> None:
        with suppress(TandemError):
            await self._log.unwatch(request_id, watcher)
        await asyncio.sleep(self._limits.disconnect_grace.total_seconds())
        try:
            is_watched = await self._log.is_watched(request_id, time.time())
        except TandemError:
            is_watched = False
        if not is_watched:
            with suppress(TandemError):
                await self._workflows.cancel(request_id)


# -- in ---------------------------------------------------------------------------------------------------------


def _asked(request: tandem_pb2.SolveRequest) -> Asked:
    budget, stop = request.budget, request.stop
    return Asked(
        request_id=request.request_id,
        question=request.question,
        profile=request.profile,
        budget=Budget(
            max_cost_usd=budget.max_cost_usd if budget.HasField("max_cost_usd") else None,
            max_llm_tokens=budget.max_llm_tokens if budget.HasField("max_llm_tokens") else None,
        ),
        threshold=stop.threshold if stop.HasField("threshold") else None,
        thresholds=dict(stop.thresholds),
        max_stage=stop.max_stage if stop.HasField("max_stage") else None,
        sampling=Sampling(**sampling_arguments(request.sampling)),
        tenant=request.tenant,
        task=task_name(request.task),
    )


def _position(cursor: str) -> Position:
    try:
        return Position.parse(cursor)
    except ValueError:
        raise InvalidArgument(f"{cursor!r} is no cursor of an event", field="resume_after") from None


def _required_id(request_id: str) -> str:
    if not request_id:
        raise InvalidArgument("a request id is needed", field="request_id")
    return request_id


# -- out --------------------------------------------------------------------------------------------------------


def _accepted(request: Conducted, cursor: str) -> tandem_pb2.SolveEvent:
    accepted = tandem_pb2.Accepted(
        request_id=request.request_id, trace_id=request.trace_id, profile=request.profile, stages=len(request.stages)
    )
    return tandem_pb2.SolveEvent(cursor=cursor, accepted=accepted)


def _event(event: Event) -> tandem_pb2.SolveEvent:
    if event.kind == "insight_delta":  # most events are text, and ParseDict takes longer than all else about one
        return tandem_pb2.SolveEvent(cursor=event.cursor, insight_delta=tandem_pb2.InsightDelta(**event.payload))
    if event.kind == "answer_delta":
        return tandem_pb2.SolveEvent(cursor=event.cursor, answer_delta=tandem_pb2.AnswerDelta(**event.payload))
    return ParseDict({"cursor": event.cursor, event.kind: _wire(event.payload)}, tandem_pb2.SolveEvent())


def _wire(payload: Any) -> dict[str, Any]:
    """A payload as the contract's JSON: enum names in full, unset values left out."""

    def convert(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: convert(v, k) for k, v in value.items() if v is not None}
        if isinstance(value, list):
            return [convert(item) for item in value]
        return f"STOP_REASON_{value.upper()}" if key == "reason" else value

    wire: dict[str, Any] = convert(dict(payload))
    return wire


def _summary(listed: Listed) -> tandem_pb2.RequestSummary:
    found = listed.attributes
    state = Status(listed.state, {"stop": {"reason": found.get("reason")}})
    return tandem_pb2.RequestSummary(
        request_id=listed.request_id,
        state=_state(state),
        profile=listed.profile,
        tenant=listed.tenant,
        started_at_unix_ms=listed.started_at.timestamp() * 1000,
        usd=found.get("cost"),
        saved_ratio=found.get("saved"),
        stage=found.get("stage"),
        reason=tandem_pb2.StopReason.Value(f"STOP_REASON_{found.get('reason', 'unspecified').upper()}"),
        trace_id=listed.trace_id,
    )


def _state(status: Status) -> tandem_pb2.RequestState.ValueType:
    if status.state == "completed" and status.result and status.result["stop"]["reason"] == "cancelled":
        return tandem_pb2.REQUEST_STATE_CANCELLED
    return {
        "running": tandem_pb2.REQUEST_STATE_RUNNING,
        "completed": tandem_pb2.REQUEST_STATE_COMPLETED,
        "failed": tandem_pb2.REQUEST_STATE_FAILED,
    }[status.state]


def _profile(profile: Profile) -> tandem_pb2.Profile:
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
        price_version=profile.prices.version,
    )
