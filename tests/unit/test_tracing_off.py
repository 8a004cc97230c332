from __future__ import annotations

import subprocess
import sys
import time

SCRIPT = """
import os
{environment}
from services.observability import tracing as telemetry
telemetry.setup("test")
with telemetry.tracer.start_as_current_span("work"):
    assert int(telemetry.current_trace_id(), 16) != 0
telemetry.shutdown()
"""


def seconds(environment: str) -> float:
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", SCRIPT.format(environment=environment)], check=True, capture_output=True, timeout=30
    )
    return time.monotonic() - started


def test_an_absent_collector_delays_no_exit() -> None:
    without = seconds("")
    refused = seconds("os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://127.0.0.1:1'")
    assert refused - without < 6
