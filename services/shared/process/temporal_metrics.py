"""What Temporal's library measures of a worker, in this process's /metrics, under the library's own names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from prometheus_client import Gauge, Histogram
from temporalio.runtime import BufferedMetricUpdate, MetricBuffer, MetricBufferDurationFormat, Runtime, TelemetryConfig

_TAKE_SECONDS = 2.0
_MOST_BUFFERED = 100_000  # one request makes some hundreds
_WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
GAUGES = {
    name: Gauge(name, text, ["task_queue", "worker_type"])
    for name, text in (
        ("temporal_worker_task_slots_available", "Tasks that this worker could take."),
        ("temporal_worker_task_slots_used", "Tasks that this worker works on."),
    )
}
HISTOGRAMS = {
    name: Histogram(f"{name}_seconds", text, ["task_queue"], buckets=_WAITS)
    for name, text in (
        ("temporal_activity_schedule_to_start_latency", "How long an activity waited for a worker."),
        ("temporal_workflow_task_schedule_to_start_latency", "How long a workflow's step waited for a worker."),
    )
}


def measured_runtime() -> tuple[Runtime, MetricBuffer]:
    """Return the runtime of a client that `keep_exporting` exports. Nobody else takes what the buffer collects."""
    buffer = MetricBuffer(_MOST_BUFFERED, MetricBufferDurationFormat.SECONDS)
    return Runtime(telemetry=TelemetryConfig(metrics=buffer)), buffer


async def keep_exporting(buffer: MetricBuffer) -> None:
    while True:
        export(buffer.retrieve_updates())
        await asyncio.sleep(_TAKE_SECONDS)


def export(updates: Iterable[BufferedMetricUpdate]) -> None:
    for update in updates:
        name, attributes = update.metric.name, update.attributes
        if gauge := GAUGES.get(name):
            gauge.labels(attributes["task_queue"], attributes["worker_type"]).set(update.value)
        elif histogram := HISTOGRAMS.get(name):
            histogram.labels(attributes["task_queue"]).observe(update.value)
