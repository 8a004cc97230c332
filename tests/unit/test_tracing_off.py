from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import time
from services.shared.observability import tracing
tracing.setup("test")
with tracing.tracer.start_as_current_span("work"):
    assert int(tracing.current_trace_id(), 16) != 0
started = time.monotonic()
tracing.shutdown()
print(time.monotonic() - started)
"""


@pytest.mark.timeout(600)
def test_an_absent_collector_delays_shutdown_by_seconds_only() -> None:
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], check=True, capture_output=True, timeout=60, text=True, env=environment
    )
    # `shutdown` waits five seconds, the exporter alone thirty; the rest is for a busy machine.
    assert float(done.stdout) < 15
