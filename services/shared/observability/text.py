"""Logs and spans without text of requests: an error's message may quote a question, so it stays where the caller sees
it.

An exception in a log has its class and its frames, and its message where the operating system wrote that, or where it
is about a port, a setting or a file (tandem.errors.SetupError); an error on a span its code and its reason, and a span
has neither `user` nor `metadata` of OpenAI's API. TANDEM_TELEMETRY_TEXT=true leaves all of it in.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Sequence
from copy import copy
from types import TracebackType

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from tandem.errors import SetupError

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_WITHHELD = "message withheld, TANDEM_TELEMETRY_TEXT=true shows it"
_NEVER_OF_A_REQUEST = (OSError, SetupError)
_TYPE = "exception.type"
USER = "enduser.id"
METADATA = "tandem.metadata."
"""Attributes of a span whose text a caller chose: what it calls its user, and what begins so, whose name it chose,
too.
"""
ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class TextlessFormatter(logging.Formatter):
    """Formats an exception without its message, unless that cannot be of a request; also where the record's own message
    has it (KServe's do).
    """

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info:
            record = copy(record)
            record.exc_text = None  # another formatter's
            if isinstance(record.args, tuple):
                record.args = tuple(_name(each) if isinstance(each, BaseException) else each for each in record.args)
        return super().format(record)

    def formatException(self, ei: ExceptionInfo) -> str:
        return "".join(_lines(ei[1])).rstrip("\n") if ei[1] else ""


def _lines(error: BaseException) -> Iterator[str]:
    """Yield the exceptions that led to `error`, then itself, as Python prints them."""
    if error.__cause__ is not None:
        yield from _lines(error.__cause__)
        yield "\nThe above exception was the direct cause of the following exception:\n\n"
    elif error.__context__ is not None and not error.__suppress_context__:
        yield from _lines(error.__context__)
        yield "\nDuring handling of the above exception, another exception occurred:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{_name(error)}: {error if isinstance(error, _NEVER_OF_A_REQUEST) else _WITHHELD}\n"
    for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield from _lines(each)


def _name(error: BaseException) -> str:
    return f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")


class TextlessExporter(SpanExporter):
    """Passes spans on without texts of callers: neither USER nor METADATA, and of an error no description of its
    status, no message and no stack trace.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_textless(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _textless(span: ReadableSpan) -> ReadableSpan:
    attributes = span.attributes or {}
    has_text = any(name.startswith((USER, METADATA)) for name in attributes)
    if not (has_text or span.events or span.status.description):
        return span
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: attributes[name] for name in attributes if not name.startswith((USER, METADATA))},
        events=[_textless_event(event) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _textless_event(event: Event) -> Event:
    found = event.attributes or {}
    if _TYPE not in found:
        return event
    return Event(event.name, {_TYPE: found[_TYPE]}, event.timestamp)
