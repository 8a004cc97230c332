"""Log lines as JSON objects, which a collector takes apart without patterns, with the trace that they belong to."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from opentelemetry import trace


class JsonFormatter(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), severity, logger, message with its traceback, service, and trace and
    span within a span.

    `message` formats a record's message and traceback; it decides what of an exception is said.
    """

    def __init__(self, message: logging.Formatter, service: str) -> None:
        super().__init__()
        self._message, self._service = message, service

    def format(self, record: logging.LogRecord) -> str:
        written = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "logger": record.name,
            "message": self._message.format(record),
            "service": self._service,
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            written |= {
                "trace_id": trace.format_trace_id(context.trace_id),
                "span_id": trace.format_span_id(context.span_id),
            }
        return json.dumps(written, ensure_ascii=False)
