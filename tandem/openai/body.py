"""Bodies of the three APIs: what they have fields for is read, and what they have none for is a hint, found by its
place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from tandem.method.json_text import read_json_text
from tandem.openai.json_body import JsonBody
from tandem.openai.parameters import RefusedParameter, Table

MOST_REPETITIONS = 10_000
"""Of a schema's bounds, such as `maxLength`: a text is held to no larger one (services.models.engine.schema_cost)."""
_BOUNDS = frozenset({"maxLength", "maxItems", "maxProperties", "maxContains"})
_PLACE = re.compile(r"[\w.=\[\]-]{1,100}", re.ASCII)  # what a header and a log can say
_MOST_NAMED = 32
Hint = tuple[str, Any]
"""Its place below the part that has it, as `.name` or `.list[].name`, and its value."""


class Strict(BaseModel):
    """A part of a body of which every field changes what the answer means: one that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(BaseModel):
    """A part of a body."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def hints(self) -> Iterator[Hint]:
        """What nobody here reads, in it and in its parts."""
        yield from ((f".{name}", value) for name, value in (self.model_extra or {}).items() if value is not None)
        for name in type(self).model_fields:
            inner = getattr(self, name)
            mark, parts = ("[]", inner) if isinstance(inner, list) else ("", [inner])
            for part in parts:
                if isinstance(part, Part):
                    yield from ((f".{name}{mark}{path}", value) for path, value in part.hints())


class Unread(Part):
    """A tool, an item or a block of a type that nobody here reads; it is dropped as a whole."""

    type: str

    def hints(self) -> Iterator[Hint]:
        yield f"[type={self.type}]", self.type


class ApiBody(Part, JsonBody):
    """A body of one of the three APIs."""

    model_config = ConfigDict(frozen=True, extra="allow")
    parameters: ClassVar[Table]

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _refuses(self) -> ApiBody:
        _ = self.dropped
        return self

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """The places of its hints, each once. Raises RefusedParameter for what is none."""
        found: dict[str, None] = {}
        for path, value in self.hints():
            place = path.removeprefix(".").replace("[][", "[")
            known = self.parameters.get(place)
            if known is not None and known.asks_nothing(value):
                continue
            if known is not None and known.kind == "refused":
                raise RefusedParameter(place, f"{place} = {_shown(value)} is not supported: {known.about}")
            found[place if _PLACE.fullmatch(place) else "other"] = None
        return tuple(found)[:_MOST_NAMED]

    def refuse_hints(self) -> None:
        """Raises RefusedParameter where it has any."""
        for place in self.dropped:
            about = self.parameters[place].about if place in self.parameters else "it is not known here"
            raise RefusedParameter(place, f"{place} is not followed: {about}")


def loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """Without bounds that are too large for a text to be held to; the same object where there are none."""
    if not any(bound in json.dumps(schema) for bound in _BOUNDS):
        return schema
    found: dict[str, Any] = _loosened(schema)
    return schema if found == schema else found


def as_object(arguments: str) -> str:
    """The arguments of an earlier call, as the JSON object that models and APIs take; a text that is none becomes part
    of one.
    """
    try:
        is_object = isinstance(read_json_text(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        is_object = False
    return (arguments or "{}") if is_object else json.dumps({"arguments": arguments}, ensure_ascii=False)


def _loosened(value: Any) -> Any:
    if isinstance(value, list):
        return [_loosened(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _loosened(inner) for name, inner in value.items() if not (name in _BOUNDS and _is_too_large(inner))}


def _is_too_large(bound: Any) -> bool:
    return isinstance(bound, int | float) and bound > MOST_REPETITIONS


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
