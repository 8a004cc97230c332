"""What surrounds the requests of a command: a stack where one is wanted, the client's own spans, and texts from files
and pipes.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import stat
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import typer

from tandem.cli.parts import needs
from tandem.cli.running import explained_wait
from tandem.paths import read_stack
from tandem.tracing.otlp import ENDPOINT, GRPC, PROTOCOL, span_exporter

_BINARY = "binary and no text: byte 0 at place {}"


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
        require_same(running, [profile], jaeger=False)
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
    of_stack = (read_stack() or {}).get("environment", {})
    given = os.environ if os.environ.get(ENDPOINT) else of_stack
    if not (endpoint := given.get(ENDPOINT)) or find_spec("opentelemetry.sdk") is None:
        yield
        return
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "tandem-cli"}))
    provider.add_span_processor(BatchSpanProcessor(span_exporter(given.get(PROTOCOL) or GRPC, 2, endpoint)))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def stdin_text(hint: str) -> str:
    """Return all of standard input. Raises BadParameter for the parameter `hint` where it is no text, or closed."""
    return _decoded(b"".join(_stdin(hint)), "standard input", hint)


def piped_text(hint: str) -> str:
    """Return all that a pipe or a file on standard input has; empty where nothing is piped. Raises as `stdin_text`.

    A file that was read before is the list of a loop in the shell, and stays the loop's.
    """
    if not _is_piped():
        return ""
    with explained_wait("waiting for the end of standard input; `< /dev/null` gives none"):
        return stdin_text(hint)


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


def _is_piped() -> bool:
    if sys.stdin is None:
        return False
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except OSError:  # no file of the system's
        return True
    if stat.S_ISREG(mode):
        return os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _decoded(content: bytes, what: str, hint: str) -> str:
    """Decode the text, without the mark that some editors put before UTF-8."""
    try:
        text = content.decode("utf-8-sig")
        place = text.find("\0")
        if place < 0:
            return text
        why = _BINARY.format(1 + place)
    except UnicodeDecodeError as error:
        why = _why_no_text(content, error.start)
    raise typer.BadParameter(f"{what} is {why}", param_hint=hint) from None


def _why_no_text(content: bytes, start: int) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "no text in UTF-8 but in UTF-16: `iconv -f utf-16 -t utf-8` converts it"
    if (place := content.find(0)) >= 0:
        return _BINARY.format(1 + place)
    return (
        f"no text in UTF-8: byte 0x{content[start]:02x} at place {start + 1}. If it is Latin-1, "
        "`iconv -f latin1 -t utf-8` converts it"
    )
