"""What surrounds the requests of a command: a stack where one is wanted, the client's own spans, and texts from files and pipes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import typer

from tandem.cli.parts import needs
from tandem.paths import read_stack


@contextlib.contextmanager
def stack_for(wanted: bool, profile: str, quiet: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with needs("--up", "local"):
        from tandem.cli.stack import start_missing, start_stack, stop_stack
        from tandem.local.layout import ANSWERING
        from tandem.local.planning import open_stack, require_same
    if (running := open_stack()) is not None:
        require_same(running, profile, jaeger=False)
        start_missing(running, quiet=True)
        yield
        return
    start_stack(profile, quiet=quiet, needed=ANSWERING)
    try:
        yield
    finally:
        stop_stack(quiet=quiet)


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """Export the client's own span to the collector of OTEL_EXPORTER_OTLP_ENDPOINT or of the local stack.

    Only where OpenTelemetry's SDK is installed (the extra `service`): the client itself requires the API alone.
    """
    of_stack = (read_stack() or {}).get("environment", {}).get("OTEL_EXPORTER_OTLP_ENDPOINT")
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or of_stack
    if not endpoint or find_spec("opentelemetry.sdk") is None:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "tandem-cli"}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=2))
    )
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def stdin_text(hint: str) -> str:
    """All of standard input. Raises BadParameter for the parameter `hint` where it is no text, or closed."""
    return _decoded(b"".join(_stdin(hint)), "standard input", hint)


def stdin_lines(hint: str) -> Iterator[str]:
    """Line by line, as they come. Raises BadParameter for the first that is no text."""
    for number, line in enumerate(_stdin(hint), 1):
        yield _decoded(line, f"line {number} of standard input", hint)


def file_text(file: Path, hint: str) -> str:
    """Raises BadParameter for the parameter `hint` where the file cannot be read, or is no text."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint=hint) from None
    return _decoded(content, str(file), hint)


def _stdin(hint: str) -> Iterator[bytes]:
    if sys.stdin is None:
        raise typer.BadParameter("standard input is closed", param_hint=hint)
    return iter(sys.stdin.buffer)


def _decoded(content: bytes, what: str, hint: str) -> str:
    """Without the mark that some editors put before UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"{what} is no text in UTF-8: byte 0x{content[error.start]:02x} at place {error.start + 1}. If it is Latin-1, "
            "`iconv -f latin1 -t utf-8` converts it",
            param_hint=hint,
        ) from None
