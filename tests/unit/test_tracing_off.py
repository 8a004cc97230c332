from __future__ import annotations

import subprocess
import sys
import time

SCRIPT = """
import os
{environment}
from services.observability import tracing
tracing.setup("test")
with tracing.tracer.start_as_current_span("work"):
    assert int(tracing.current_trace_id(), 16) != 0
tracing.shutdown()
"""


def seconds(environment: str) -> float:
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", SCRIPT.format(environment=environment)], check=True, capture_output=True, timeout=30
    )
    return time.monotonic() - started


def test_a_collector_that_is_not_there_holds_nothing_up() -> None:
    without = seconds("")
    refused = seconds("os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://127.0.0.1:1'")
    assert refused - without < 6
