"""Messages of errors stay out of logs and exported spans."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from services.shared.observability.text import LOG_FORMAT, TextlessExporter, TextlessFormatter
from services.shared.process.certificate import CertificateError
from tandem.access.keys import KeyFileError
from tandem.access.tenants import TenantFileError
from tandem.errors import SetupError
from tandem.paths import REPOSITORY


@pytest.fixture
def logged() -> tuple[logging.Logger, io.StringIO]:
    stream, logger = io.StringIO(), logging.Logger("test")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextlessFormatter(LOG_FORMAT))
    logger.addHandler(handler)
    return logger, stream


def test_a_logged_exception_has_class_and_frames_and_no_message(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    try:
        try:
            raise ValueError("secret one")
        except ValueError as error:
            raise ExceptionGroup("secret two", [KeyError("secret three")]) from error
    except ExceptionGroup as group:
        logger.exception("it failed: %s", group)
    text = stream.getvalue()
    assert "secret" not in text.replace('("secret', "")  # the frames show lines of the source
    for part in (
        "it failed: ExceptionGroup",
        "ValueError: message withheld",
        "KeyError: message withheld",
        "in test_a_logged",
    ):
        assert part in text


def test_what_the_system_says_is_logged(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    try:
        Path("/nowhere/at/all").read_text()
    except OSError:
        logger.exception("it failed")
    assert "No such file or directory" in stream.getvalue()


def test_what_is_wrong_with_a_port_a_setting_or_a_file_is_logged(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    for kind in (SetupError, KeyFileError, TenantFileError, CertificateError):
        try:
            try:
                raise ValueError("secret")
            except ValueError as error:
                raise kind("keys.json is no JSON") from error
        except kind:
            logger.exception("it failed")
        assert f"{kind.__qualname__}: keys.json is no JSON" in stream.getvalue()
    assert "ValueError: secret" not in stream.getvalue()


def test_a_message_without_an_exception_is_logged_as_it_is(logged: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = logged
    logger.warning("not now: %s", ConnectionError("refused"))
    assert "WARNING test: not now: refused" in stream.getvalue()


def test_an_exported_span_keeps_all_but_messages() -> None:
    exported, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(TextlessExporter(exported)))
    tracer = provider.get_tracer("test", "1")

    def fail() -> None:
        with tracer.start_as_current_span("inner", attributes={"a": 1}) as span:
            span.add_event("kept", {"b": 2})
            raise ValueError("secret")

    with tracer.start_as_current_span("outer"), pytest.raises(ValueError, match="secret"):
        fail()
    inner, outer = exported.get_finished_spans()
    assert "secret" not in inner.to_json()
    assert inner.status.status_code is StatusCode.ERROR
    assert inner.status.description is None
    assert [(event.name, dict(event.attributes or {})) for event in inner.events] == [
        ("kept", {"b": 2}),
        ("exception", {"exception.type": "ValueError"}),
    ]
    assert inner.parent is not None
    assert (inner.name, dict(inner.attributes or {}), inner.parent.span_id) == (
        "inner",
        {"a": 1},
        outer.context.span_id,
    )
    assert inner.instrumentation_scope == outer.instrumentation_scope
    assert outer.status.status_code is StatusCode.UNSET


def test_a_callers_user_and_metadata_are_exported_as_texts_only() -> None:
    whole, textless, provider = InMemorySpanExporter(), InMemorySpanExporter(), TracerProvider()
    for exporter in (whole, TextlessExporter(textless)):
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    said = {"enduser.id": "secret", "tandem.metadata.secret": "secret", "tandem.request.id": "1"}
    provider.get_tracer("test", "1").start_span("asked", attributes=said).end()
    [[with_texts], [without]] = [each.get_finished_spans() for each in (whole, textless)]
    assert with_texts.attributes == said
    assert without.attributes == {"tandem.request.id": "1"}
    assert "secret" not in without.to_json()


def test_kserve_logs_through_our_handler() -> None:
    """In a process of its own, as KServe changes what all loggers of a process do."""
    program = (
        "import logging; from services.sufficiency_scorer.server import ScorerServer; ScorerServer('127.0.0.1', 0, "
        "None); "
        "print([n for n in ('kserve', 'uvicorn') if logging.getLogger(n).handlers or not "
        "logging.getLogger(n).propagate])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
