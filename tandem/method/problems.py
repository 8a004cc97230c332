"""What is wrong with given data, in words for people."""

from __future__ import annotations

from pydantic import ValidationError

_SHOWN = 10
_OWN = "Value error, "  # pydantic's words before those of our validators


def problems(error: Exception) -> str:
    """The first of pydantic's problems, each as `place: message`, without the value, which may be a user's text, and
    without the address of pydantic's pages. Of another error its own message.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False, include_input=False, include_context=False)
    told = ((".".join(map(str, one["loc"])), one["msg"].removeprefix(_OWN)) for one in found[:_SHOWN])
    named = [f"{place}: {message}" if place else message for place, message in told]
    if len(found) > _SHOWN:
        named.append(f"and {len(found) - _SHOWN} more")
    return "; ".join(named)
