"""How far a batch is: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from datetime import timedelta

import grpc
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tandem.cli.output import console, console_note, dollars
from tandem.client.batches import Batches
from tandem.errors import RequestError
from tandem.v1 import batch_pb2

_POLL_SECONDS = 1.0
_LINE_SECONDS = 15.0
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_OPEN = (batch_pb2.BATCH_STATE_RUNNING, batch_pb2.BATCH_STATE_FINALIZING, batch_pb2.BATCH_STATE_CANCELLING)


def is_over(batch: batch_pb2.Batch) -> bool:
    return batch.state not in _OPEN


def follow(batches: Batches, batch: batch_pb2.Batch, interrupted: threading.Event, quiet: bool) -> batch_pb2.Batch:
    """Return the batch at its end, or as it was at the interrupt. A gateway or Temporal that is gone is waited for."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[more]}"))
    has_bar = console.is_terminal and not quiet
    bar = Progress(*columns, TimeElapsedColumn(), console=console, disable=not has_bar)
    with bar if has_bar else nullcontext():
        task = bar.add_task(batch.batch_id, total=batch.counts.total, more="")
        told_at, is_lost = -_LINE_SECONDS, False
        while not is_over(batch) and not interrupted.is_set():
            bar.update(task, completed=_ended(batch), more=_so_far(batch))
            if not (has_bar or quiet) and time.monotonic() - told_at >= _LINE_SECONDS:
                console.print(f"{batch.batch_id}: {_ended(batch)} of {batch.counts.total}, {_so_far(batch)}")
                told_at = time.monotonic()
            interrupted.wait(_POLL_SECONDS)
            try:
                batch, is_lost = batches.get(batch.batch_id), False
            except RequestError as error:
                if error.code not in _PASSING:
                    raise
                if not is_lost:
                    console_note(f"waiting: {error}")
                is_lost = True
        bar.update(task, completed=_ended(batch), more=_so_far(batch))
    return batch


def summary(batch: batch_pb2.Batch) -> str:
    """State, counts and cost in one line."""
    counts = batch.counts
    state = batch_pb2.BatchState.Name(batch.state).removeprefix("BATCH_STATE_").lower().replace("_", " ")
    groups = {
        "failed": counts.failed, "cancelled": counts.cancelled, "not asked": counts.unasked, "running": counts.running
    }  # fmt: skip
    others = "".join(f", {number} {name}" for name, number in groups.items() if number)
    limit = f" of at most ${batch.max_cost_usd:g}" if batch.HasField("max_cost_usd") else ""
    until = batch.ended_at_unix_ms / 1000 if batch.HasField("ended_at_unix_ms") else time.time()
    took = _span(until - batch.created_at_unix_ms / 1000)
    why = f"; {batch.error}" if batch.error else ""
    return (
        f"{batch.batch_id} {state}: {counts.answered} of {counts.total} answered{others}; {_cost(batch)}{limit}; {took}"
        f"{why}"
    )


def _so_far(batch: batch_pb2.Batch) -> str:
    """Cost, and the time that the rest takes at the pace until now."""
    ended, cost = _ended(batch), _cost(batch)
    if not ended:
        return cost
    elapsed = time.time() - batch.created_at_unix_ms / 1000
    return f"{cost}, about {_span(elapsed / ended * (batch.counts.total - ended))} left"


def _cost(batch: batch_pb2.Batch) -> str:
    return dollars(batch.usd if batch.HasField("usd") else None, 6)


def _ended(batch: batch_pb2.Batch) -> int:
    return batch.counts.answered + batch.counts.failed + batch.counts.cancelled


def _span(seconds: float) -> str:
    return str(timedelta(seconds=max(0, round(seconds))))
