"""What the bodies of the three APIs share: what they have fields for is read, and what they have none for is a hint,
found by its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PrivateAttr, field_validator, model_validator
from pydantic_core import to_json

from tandem.method.tokens import EFFORTS
from tandem.openai.allow_list import MOST_NAMED, Shape, leads, nameable
from tandem.openai.json_body import JsonBody
from tandem.openai.parameters import HINT, Parameter, RefusedParameter, Table
from tandem.v1 import tandem_pb2

_TYPE = re.compile(r"\[type=[^]]*\]$")
Hint = tuple[str, Any]
"""Its place below the part that has it, as `.name` or `.list[].name`, and its value."""


class Strict(BaseModel):
    """A part of a body of which every field changes what the answer means: one that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(BaseModel):
    """A part of a body."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def other(self, name: str) -> Any:
        """The value of what it has no field for; None if it is not given."""
        return (self.model_extra or {}).get(name)

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
    """A tool, an item or a block of a type that nobody here reads. `read`: the types that are."""

    type: str
    read: ClassVar[tuple[str, ...]] = ()

    @field_validator("type")
    @classmethod
    def _is_other(cls, given: str) -> str:
        if given in cls.read:
            raise ValueError(f"a {given} has more fields")
        return given

    def hints(self) -> Iterator[Hint]:
        yield f"[type={self.type}]", self.type


class NotText(Unread):
    """A part of a message that only an API of its protocol reads; `text` stands in its place for any other model."""

    @property
    def text(self) -> str:
        return f"[{self.type}: not text]"


class HasText(Protocol):
    @property
    def text(self) -> str: ...


def text_of(content: str | Sequence[HasText]) -> str:
    """The text of a message, which is one string or in parts."""
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


@dataclass(frozen=True, slots=True)
class Labels:
    """What a caller files a request under. `user` is the caller's own; empty if the body names none."""

    user: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


class ApiBody(Part, JsonBody):
    """A body of one of the three APIs."""

    model_config = ConfigDict(frozen=True, extra="allow")
    parameters: ClassVar[Table]
    """What becomes of what the body has no field for."""
    passed: ClassVar[Mapping[str, Shape]]
    """What of it an API of the same protocol may be given."""
    protocol: ClassVar[str]
    """Of APIs that take such a body."""
    _given: dict[str, Any] = PrivateAttr(default_factory=dict)
    _hints: dict[str, Parameter] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keeps_what_is_not_read(cls, given: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        """A null is as good as a parameter that is left out. Raises RefusedParameter for one that nobody follows."""
        if not isinstance(given, dict):
            return read(given)
        body = read({name: value for name, value in given.items() if value is not None})
        body._given, body._hints = given, body._found_hints()
        return body

    def _found_hints(self) -> dict[str, Parameter]:
        """By their places what is not read here. Raises RefusedParameter for what is refused by everybody."""
        found: dict[str, Parameter] = {}
        for path, value in self.hints():
            place = path.removeprefix(".").replace("[][", "[")
            row = place if place in self.parameters else _TYPE.sub("[type=*]", place)
            known = self.parameters.get(row, HINT)
            if known.asks_nothing(value):
                continue
            if known.is_told and value not in EFFORTS:
                known = replace(known, is_told=False)
            if known.is_refused and not self.allows(row):
                raise RefusedParameter(place, f"{place} = {_shown(value)} is not supported: {known.about}")
            found.setdefault(nameable(place), known)
        return found

    @classmethod
    def allows(cls, place: str) -> bool:
        """Whether an API of the protocol is given what stands at a place, such as `tools[].cache_control`."""
        return leads(cls.passed, place)

    def dropped(self, *, is_told: bool = False) -> tuple[str, ...]:
        """The places of its hints, each once. `is_told`: what an API of another protocol is told is not dropped."""
        return tuple(place for place, known in self._hints.items() if not (is_told and known.is_told))[:MOST_NAMED]

    def refuse_hints(self) -> None:
        """Raises RefusedParameter where it has any."""
        for place in self._hints:
            raise RefusedParameter(place, f"{place} is not followed: leave it out")

    def native(self, betas: str) -> tandem_pb2.Native:
        """The body itself, for an API of its protocol. `betas`: the header's. What an API gets of it, the gateway
        decides (tandem.openai.allow_list).
        """
        own = {name: value for name, value in self._given.items() if not self._is_settled(name, value)}
        if betas:
            own["betas"] = [beta.strip() for beta in betas.split(",")]
        needed = next((place for place, known in self._hints.items() if known.is_refused), "")
        text = to_json(own).decode()  # a fifth of json's time: this is on the event loop
        return tandem_pb2.Native(protocol=self.protocol, body=text, needs=needed)

    def _is_settled(self, name: str, value: Any) -> bool:
        """A field that is followed or means nothing, so that no API has to be given it."""
        if name in self.passed:
            return False
        is_read = value is None or name in type(self).model_fields
        return is_read or self.parameters.get(name, HINT).asks_nothing(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
