"""Logs as JSON: one object a line, with its trace, and no more of an exception than text logs have."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from services.shared.observability import tracing

PRIVATE = "what nobody may read"
logger = logging.getLogger("tandem.test")


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process keeps its log handlers, and its tracer provider: it takes one for life, and other tests need
    theirs.
    """
    monkeypatch.setattr(trace, "set_tracer_provider", lambda _: None)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = handlers, level


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("restored")
def test_a_line_has_its_service_its_trace_and_its_traceback_without_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TANDEM_LOG_FORMAT", "json")
    tracing.setup("tandem-tested")
    logger.info("outside %s", "a span")
    with TracerProvider().get_tracer("t").start_as_current_span("one") as span:
        try:
            raise ValueError(PRIVATE)
        except ValueError:
            logger.exception("it failed\nin two lines")
    outside, inside = lines(capsys)
    assert {"severity", "logger", "message", "service", "time"} == set(outside)
    assert (outside["severity"], outside["service"], outside["message"]) == ("INFO", "tandem-tested", "outside a span")
    assert inside["trace_id"] == trace.format_trace_id(span.get_span_context().trace_id)
    assert "Traceback" in inside["message"]
    assert PRIVATE not in inside["message"]


@pytest.mark.usefixtures("restored")
def test_logs_are_text_unless_the_setting_says_json(capsys: pytest.CaptureFixture[str]) -> None:
    tracing.setup("tandem-tested")
    logger.info("hello")
    assert capsys.readouterr().err.endswith("INFO tandem.test: hello\n")
