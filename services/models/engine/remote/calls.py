"""Calls of tools that an API returns as calls: how they stand in the text of a request log, which is one text."""

from __future__ import annotations

from collections.abc import Iterable

from services.models.engine.call_format import CallFormat

# Private-use characters. They are replaced in a model's text, so that no text is a call.
_CALL, _ARGUMENTS = "\ue003\ue004"
_NO_MARKS = str.maketrans({_CALL: "�", _ARGUMENTS: "�"})
_ESCAPED = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in (_CALL, _ARGUMENTS)})
CALLS = CallFormat(_CALL, _ARGUMENTS, _CALL, "", reads_bare=False)
"""As `written_calls` writes them; no model does."""


def without_marks(text: str) -> str:
    return text.translate(_NO_MARKS)


def written_calls(calls: Iterable[tuple[str, str]]) -> str:
    """Names and arguments, as texts of JSON."""
    return "".join(called_piece(name, arguments, is_first=True) for name, arguments in calls)


def called_piece(name: str, arguments: str, *, is_first: bool) -> str:
    """What a piece of the arguments adds; the `is_first` begins the call."""
    begun = f"{_CALL}{without_marks(name)}{_ARGUMENTS}" if is_first and arguments else ""
    return begun + arguments.translate(_ESCAPED)
