"""One streaming call to a model service, cancelled without losing its final usage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from temporalio import activity
from temporalio.exceptions import ApplicationError

from services.shared.observability.metrics import count_unavailable
from services.shared.observability.spans import Inference, report_discarded
from services.shared.process.service_channel import Metadata, placed
from tandem.convert.outcomes import begun_from_pb
from tandem.convert.values import counts_from_pb
from tandem.method.evidence.begun_answer import Begun
from tandem.method.request.job import Job, Step
from tandem.method.request.request import SolveRequest
from tandem.method.timeouts import Timeouts
from tandem.method.tokens import TokenCounts
from tandem.method.usage import beyond
from tandem.v1 import execution_pb2
from workflows.activities.attempts import (
    UNAVAILABLE,
    application_error,
    counts_in,
    heartbeating,
    is_last_attempt,
    worker_is_draining,
)
from workflows.activities.usage import EarlierUsage, ReportedUsage, earlier_usage, heartbeat_details

_ABORT_AGAIN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Call:
    """A step of a job, as one attempt makes it."""

    job: Job
    step: Step

    @property
    def text(self) -> tuple[str, str, int]:
        return self.step.request_id, self.step.role, self.step.trial

    @property
    def inference(self) -> Inference:
        return Inference("", self.step.role, self.step.request_id, self.step.epoch, self.step.prices)


@dataclass(slots=True)
class Received:
    """Events of the stream by kind, as far as they have come. `logged`: what the request log had when the attempt
    began.
    """

    started: Any = None
    finished: Any = None
    model: str = ""
    logged: TokenCounts = field(default_factory=TokenCounts)
    counts: TokenCounts = field(default_factory=TokenCounts)
    see_begun: Callable[[Begun], None] = lambda begun: None

    def see(self, event: Any) -> None:
        match event.WhichOneof("event"):
            case "started":
                self.started, self.logged = event.started, counts_from_pb(event.usage)
            case "begun":
                self.see_begun(begun_from_pb(event.begun))
            case "finished":
                self.finished, self.model = event.finished, event.usage.model
                self.counts = counts_from_pb(event.usage)


@dataclass(frozen=True, slots=True)
class CompletedCall:
    """`counts` cover every attempt of the role, also those that no log knows. `is_late`: it was to be aborted at its
    limit.
    """

    counts: TokenCounts
    started: Any
    finished: Any
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Of a call among those that an activity makes at once. `see_begun` is told what its answer begins with."""

    earlier: Sequence[EarlierUsage]
    number: int = 0
    see_begun: Callable[[Begun], None] = lambda begun: None


async def run_model_call(
    stream: Any,
    stub: Any,
    call: Call,
    reported: ReportedUsage,
    place: Place | None = None,
    most_seconds: float | None = None,
) -> CompletedCall:
    """Read a stream to its `finished`. When cancelled, or after `most_seconds`, abort the work and read on to its exact
    usage.

    Tokens that no log has are carried from attempt to attempt in the heartbeats' details; traces know of
    the step's `used_before`.
    """
    step, inference = call.step, call.inference
    place = place or Place(earlier_usage(step.used_before))
    earlier, received = place.earlier[place.number], Received(see_begun=place.see_begun)
    reader, is_late = asyncio.ensure_future(_read(stream, received, earlier)), False
    try:
        async with heartbeating(lambda: heartbeat_details(place.earlier)):
            try:
                await asyncio.wait([reader], timeout=most_seconds)
                if is_late := not reader.done():
                    await _abort_until_known(stub, inference, reader)
                await asyncio.shield(reader)
            except asyncio.CancelledError:
                if worker_is_draining():
                    raise
                await _abort_until_known(stub, inference, reader)
                await reader
    except grpc.aio.AioRpcError as error:
        if received.started is None and error.code() in UNAVAILABLE:
            count_unavailable(step.profile, step.role)
        failed = _failure(error, call, received, earlier, reported, is_late)
        activity.heartbeat(*heartbeat_details(place.earlier))
        raise failed from error
    finally:
        reader.cancel()
        stream.cancel()
    reported.pop(call.text)
    in_traces = beyond(step.used_before, received.logged)
    report_discarded(replace(inference, model=received.model), beyond(earlier.missing, in_traces))
    return CompletedCall(received.counts + earlier.missing, received.started, received.finished, is_late)


def place_of(request: SolveRequest, step: Step) -> Metadata:
    """Requests go together that the models' caches of prefixes would serve: one tenant's, with the same tools and first
    words.
    """
    owner = step.request_id.rpartition("/")[0]
    first = next((message.text for message in request.history if message.speaker == "user"), request.question)
    system = [message.text for message in request.history[:1] if message.speaker == "system"]
    return placed(step.request_id, owner, *map(repr, request.tools.tools), *system, first)


async def _abort_until_known(stub: Any, inference: Inference, reader: asyncio.Future[None]) -> None:
    """Again as long as the service does not know the attempt: an abort may come before its call."""
    while not (reader.done() or await abort(stub, inference.request_id, inference.attempt)):
        await asyncio.wait([reader], timeout=_ABORT_AGAIN_SECONDS)


async def abort(stub: Any, request_id: str, epoch: int, *, only_prefill: bool = False) -> bool:
    """Whether the service has what is to be aborted."""
    request = execution_pb2.AbortRequest(
        request_id=request_id, epoch=epoch, decided_at_unix_ms=time.time() * 1000, only_prefill=only_prefill
    )
    reply = await stub.Abort(request, timeout=Timeouts.stop_call.total_seconds(), metadata=placed(request_id))
    return bool(reply.aborted)


async def _read(stream: Any, received: Received, earlier: EarlierUsage) -> None:
    """Read a stream to its very end, which must be `finished`."""
    async for event in stream:
        has_begun = received.started is not None
        received.see(event)
        if received.started is not None and not has_begun:
            earlier.see_log(received.logged)
    if received.finished is None:
        is_last = is_last_attempt(activity.info().attempt, grpc.StatusCode.OK, began=True)
        raise ApplicationError(
            "the service ended its stream without `finished`", type="STREAM_CUT", non_retryable=is_last
        )


def _failure(
    error: grpc.aio.AioRpcError,
    call: Call,
    received: Received,
    earlier: EarlierUsage,
    reported: ReportedUsage,
    is_late: bool,
) -> ApplicationError:
    """The attempt's error with what it and earlier ones have used, which this worker remembers. No other attempt
    follows one that `is_late`.
    """
    told = counts_in(error)
    earlier.fail(told, received.logged)
    is_silent = received.started is not None and not told.computed
    reported.remember(call.text, earlier.total, is_silent=is_silent)
    is_last = is_last_attempt(activity.info().attempt, error.code(), began=received.started is not None)
    return application_error(error, earlier.total, is_last or is_late, is_unattended=call.job.is_unattended)
