"""What a conversation holds against calls of tools, however many models make them."""

# No `from __future__ import annotations`: see tandem.method.request.request.
import json
import re
from collections.abc import Sequence
from typing import Any

from tandem.method.conversation import Message
from tandem.method.evidence.same_answer import AnswerKind, normal_form
from tandem.method.tools import Call, Tool

_ERROR = re.compile(r"\s*(\w*error|\w*exception|traceback|failed)\b", re.IGNORECASE)


def doubt(
    calls: Sequence[Call],
    history: Sequence[Message],
    text: str = "",
    tools: Sequence[Tool] = (),
    *,
    takes_no_call_later: bool = False,
) -> str:
    """Why agreement is not enough for these `calls`, or for the `text` of an answer that makes none:
    a call of one of the `tools` was made before or stands in the text, the last result is an error, or the text comes
    in the middle of a session, without `takes_no_call_later`. Empty: it may be.
    """
    # An API that reads no calls gives them as text: `{"name": "TOOL", ...}`.
    if not calls and any(f'"{tool.name}"' in text for tool in tools):
        return "a call stands in the text, so that none is read"
    before = {_form(call.name, call.arguments) for each in history for call in each.calls}
    if any(_form(*call) in before for call in calls):
        return "it makes the same call again"
    if history and history[-1].speaker == "tool" and _is_error(history[-1].text):
        return "the last result is an error"
    if not calls and not takes_no_call_later and any(each.calls for each in history):
        return "none of them calls a tool in the middle of a session"
    return ""


def _form(name: str, arguments: str) -> str:
    return normal_form(AnswerKind("calls"), [(name, arguments)])


def _is_error(result: str) -> bool:
    found = _object(result)
    return bool(found.get("error")) or found.get("is_error") is True or bool(_ERROR.match(result))


def _object(text: str) -> dict[str, Any]:
    """Empty where the text is no JSON object."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
