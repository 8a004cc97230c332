"""The events of a protocol as typed values: all that is read of a stream. What does not fit is one error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.models.engine.api import ApiBadReply, ApiUnavailable
from tandem.method.problems import problems

MOST_CALLS = 128
_MOST_TOOLS, _COUNTED = 16, "_requests"
# Of an error within a stream, by the vendors' names: the status that it would have had before.
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "overloaded_error": 529,
}
_SHOWN = 1000  # characters of what an API says
Name = Annotated[str, Field(max_length=256)]


class Part(BaseModel):
    """A text is no number, and nothing is left out that a count needs; what is not named here is ignored."""

    model_config = ConfigDict(strict=True)


class ToolUsage(Part):
    """The part of a usage that counts the API's own tools, as Anthropic has it, and OpenRouter in its chat."""

    server_tool_use: Annotated[dict[Name, Any], Field(max_length=_MOST_TOOLS)] | None = None

    @property
    def tool_uses(self) -> dict[str, int]:
        """By the tool's name: the field of `web_search` is `web_search_requests`."""
        counts = {name.removesuffix(_COUNTED): count for name, count in (self.server_tool_use or {}).items()}
        return {tool: count for tool, count in counts.items() if isinstance(count, int)}


class Event(Part):
    error: Any = None


class TypedEvent(Event):
    """One of several; `needed`: the fields that an event of a type must have."""

    needed: ClassVar[Mapping[str, Sequence[str]]]
    type: Name

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        if missing := [name for name in self.needed.get(self.type, ()) if getattr(self, name) is None]:
            raise ValueError(f"{self.type} has no {missing[0]}")
        return self


E = TypeVar("E", bound=Event)


def read_event(kind: type[E], data: bytes) -> E:
    """Raises ApiBadReply, and ApiUnavailable where the event is the API's error."""
    try:
        event = kind.model_validate_json(data)
    except ValidationError as error:
        raise ApiBadReply(f"the API sends an event that is none of its protocol: {problems(error)}") from None
    if event.error:
        raise failed(event.error)
    return event


def failed(error: Any) -> ApiUnavailable:
    """What the error of a reply that had begun stands for."""
    said = error if isinstance(error, dict) else {}
    known = (_STATUSES.get(str(said.get(name))) for name in ("type", "code"))
    return ApiUnavailable(f"the API fails: {said_in(error)}", vendor_status=next(filter(None, known), 0))


def said_in(error: Any) -> str:
    """What the error of a reply says, shortened."""
    message = error.get("message") if isinstance(error, dict) else None
    return str(message or error)[:_SHOWN]
