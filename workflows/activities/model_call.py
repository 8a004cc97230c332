"""One streaming call to a model service, cancelled without losing its final usage."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from temporalio import activity
from temporalio.exceptions import ApplicationError

from services.observability.spans import Inference, report_discarded
from tandem.convert.values import counts_from_pb
from tandem.method.timeouts import Timeouts
from tandem.method.tokens import TokenCounts
from tandem.v1 import execution_pb2, tandem_pb2
from workflows.activities.errors import application_error, counts_in
from workflows.activities.heartbeat import heartbeating, worker_is_draining
from workflows.activities.lost_usage import ReportedUsage
from workflows.activities.retries import is_last_attempt


@dataclass(slots=True)
class Received:
    """Events of the stream by kind, as far as they have come; `usage` is the last one's."""

    started: Any = None
    finished: Any = None
    usage: tandem_pb2.TokenUsage = field(default_factory=tandem_pb2.TokenUsage)

    def see(self, event: Any) -> None:
        kind = event.WhichOneof("event")
        if kind in ("started", "finished"):
            setattr(self, kind, getattr(event, kind))
        self.usage = event.usage


@dataclass(frozen=True, slots=True)
class CompletedCall:
    """`counts` cover every attempt of the role, also those that no log knows."""

    counts: TokenCounts
    started: Any
    finished: Any


async def run_model_call(call: Any, stub: Any, inference: Inference, reported: ReportedUsage) -> CompletedCall:
    """Read a stream to its `finished`. When cancelled, abort the work and read on to its exact usage.

    Counts of earlier attempts that no request log took travel in the heartbeats' details.
    """
    received = Received()
    reader = asyncio.ensure_future(_read(call, received))
    unlogged = _unlogged_before()
    try:
        async with heartbeating(unlogged):
            try:
                await asyncio.shield(reader)
            except asyncio.CancelledError:
                if worker_is_draining():
                    raise
                await abort(stub, inference.request_id, inference.attempt)
                await reader
    except grpc.aio.AioRpcError as error:
        raise _failure(error, inference, received, unlogged, reported) from error
    finally:
        reader.cancel()
        call.cancel()
    lost = _unless_logged(unlogged, received)
    report_discarded(replace(inference, model=received.usage.model), lost)
    is_estimated = getattr(received.finished, "usage_is_estimated", False)
    counts = counts_from_pb(received.usage, is_estimated=is_estimated) + lost
    return CompletedCall(counts, received.started, received.finished)


async def abort(stub: Any, request_id: str, epoch: int, *, only_prefill: bool = False) -> None:
    request = execution_pb2.AbortRequest(
        request_id=request_id, epoch=epoch, decided_at_unix_ms=time.time() * 1000, only_prefill=only_prefill
    )
    await stub.Abort(request, timeout=Timeouts.stop_call.total_seconds())


async def _read(call: Any, received: Received) -> None:
    """Read a stream to its very end, which must be `finished`."""
    async for event in call:
        received.see(event)
    if received.finished is None:
        is_last = is_last_attempt(activity.info().attempt, grpc.StatusCode.OK, began=True)
        raise ApplicationError(
            "the service ended its stream without `finished`", type="STREAM_CUT", non_retryable=is_last
        )


def _failure(
    error: grpc.aio.AioRpcError,
    inference: Inference,
    received: Received,
    unlogged: TokenCounts,
    reported: ReportedUsage,
) -> ApplicationError:
    """The attempt's error with what it and earlier ones have used; also in a heartbeat, and remembered by this worker."""
    counts = counts_in(error) + _unless_logged(unlogged, received)
    activity.heartbeat(counts)
    reported.remember(inference.request_id, inference.role, counts)
    is_last = is_last_attempt(activity.info().attempt, error.code(), began=received.started is not None)
    return application_error(error, counts, is_last)


def _unlogged_before() -> TokenCounts:
    """What earlier attempts used that may be in no log."""
    details = activity.info().heartbeat_details
    return TokenCounts(**details[0]) if details and isinstance(details[0], dict) else TokenCounts()


def _unless_logged(unlogged: TokenCounts, received: Received) -> TokenCounts:
    """`unlogged`, unless the log turned out to know the earlier attempts, whose tokens are then in its ledger."""
    is_logged = received.started is not None and received.started.previous_epoch
    return TokenCounts() if is_logged else unlogged
