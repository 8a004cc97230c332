"""How much of anything a request may hold, counted before any of it is looked at: what is read costs time and memory.

What a question and its conversation may hold is the profile's (`Admission`).
"""

from __future__ import annotations

from collections.abc import Sized

from tandem.client.contract import MOST_CALLS, MOST_MESSAGES, MOST_TOOLS
from tandem.method.errors import InvalidArgument
from tandem.v1 import tandem_pb2

_MAX_WHERE_CHARACTERS = 4096
MAX_CHECKS = 16
_MAX_ARGUMENT_CHARACTERS = 64 * 1024
_MAX_SCHEMA_CHARACTERS = 256 * 1024
_MAX_STOP_STRINGS = 4
_MAX_THRESHOLDS = 64


def check_bounds(request: tandem_pb2.SolveRequest) -> None:
    """Raises InvalidArgument naming the field."""
    _check_count("messages", request.messages, MOST_MESSAGES)
    _check_count("checks", request.checks, MAX_CHECKS)
    _check_count("stop_strings", request.stop_strings, _MAX_STOP_STRINGS)
    _check_count("stop.thresholds", request.stop.thresholds, _MAX_THRESHOLDS)
    _check_count("tools", request.tools, MOST_TOOLS)
    _check_count("tool_choice", request.tool_choice.allowed, MOST_TOOLS)
    _check_length("json_schema", request.json_schema, _MAX_SCHEMA_CHARACTERS)
    for check in request.checks:
        _check_length("checks", check.argument, _MAX_ARGUMENT_CHARACTERS)
    for message in request.messages:
        _check_count("messages.tool_calls", message.tool_calls, MOST_CALLS)
    for tool in request.tools:
        _check_length("tools.parameters", tool.parameters, _MAX_ARGUMENT_CHARACTERS)


def check_where(where: str) -> None:
    """Raises InvalidArgument."""
    _check_length("where", where, _MAX_WHERE_CHARACTERS)


def _check_count(field: str, items: Sized, most: int) -> None:
    if len(items) > most:
        raise InvalidArgument(f"there are at most {most} {field}, not {len(items)}", field=field)


def _check_length(field: str, text: str, most: int) -> None:
    if len(text) > most:
        raise InvalidArgument(f"{field} has at most {most} characters, not {len(text)}", field=field)
