"""The one place where a caller's values become messages of the contract: each must be one that its field can hold."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

from google.protobuf.message import Message
from pydantic import Field

from tandem.errors import RequestError

MOST_MESSAGES = 1024
"""Of a conversation."""
MOST_TOOLS = 128
MOST_CALLS = 128
"""Of a message."""
MAX_REQUEST_BYTES = 4 * 2**20
"""Of a body of JSON. Temporal keeps 2 MB of it, compressed."""
MAX_MESSAGE_BYTES = 2 * MAX_REQUEST_BYTES
"""Of a message to the gateway: a body goes beside what is read of it."""
MOST_COUNT = 2**32 - 1
Count = Annotated[int, Field(ge=0, le=MOST_COUNT)]
"""A field of type uint32."""
Seed = Annotated[int, Field(ge=0, lt=1 << 64)]
"""A field of type uint64."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = 60
# Of the messages that lie in a request.
_PLACES = {
    "Budget": "budget.",
    "StopOverrides": "stop.",
    "Sampling": "sampling.",
    "Message": "messages.",
    "Check": "checks.",
    "Tool": "tools.",
    "ToolCall": "messages.tool_calls.",
    "ToolChoice": "tool_choice.",
}
P = ParamSpec("P")
M = TypeVar("M", bound=Message)


def to_message(kind: Callable[P, M], /, *args: P.args, **values: P.kwargs) -> M:
    """`kind(**values)`. Raises RequestError, INVALID_ARGUMENT with the field's name as a gateway has it, where a value
    is none of the field's type: an integer out of its range, or text that is no Unicode.
    """
    try:
        return kind(*args, **values)
    except (ValueError, OverflowError) as error:
        for name, value in values.items():
            if not _is_held(kind, name, value):
                raise _refusal(_PLACES.get(kind.__name__, "") + name, value) from error
        raise


def lone_surrogate(text: str) -> str:
    """What makes `text` no Unicode, which UTF-8 cannot say; empty where nothing does."""
    found = _SURROGATE.search(text)
    return f"U+{ord(found.group()):04X} at character {found.start() + 1}, half of a surrogate pair" if found else ""


def readable(text: str) -> str:
    """`text`, with what UTF-8 cannot say in its place as an escape."""
    return text.encode(errors="backslashreplace").decode()


def _is_held(kind: Callable[..., Any], name: str, value: Any) -> bool:
    try:
        kind(**{name: value})
    except (ValueError, OverflowError):
        return False
    return True


def _refusal(field: str, value: Any) -> RequestError:
    from grpc import StatusCode  # here, because commands that call no gateway need this module's types

    lone = next(filter(None, map(lone_surrogate, _texts(value))), "")
    why = f"holds text that is no Unicode: {lone}" if lone else f"is out of its range: {_shown(value)}"
    return RequestError(StatusCode.INVALID_ARGUMENT, f"{field} {why}", "INVALID_ARGUMENT", field)


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in _texts(part)]
    return [text for part in value for text in _texts(part)] if isinstance(value, list | tuple) else []


def _shown(value: Any) -> str:
    try:
        said = str(value)
    except ValueError:  # of thousands of digits
        return "a number of thousands of digits"
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}..."
