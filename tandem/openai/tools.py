"""Functions that are offered and called, as OpenAI's APIs and the gateway write them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tandem.method.json_text import read_json_text
from tandem.openai.body import Hint, Part, Unread
from tandem.openai.schemas import loosened


class FunctionBody(Part):
    """`strict`: a schema that no text can be held to in full is refused, where else it is held as far as possible."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    @property
    def schema_held(self) -> dict[str, Any] | None:
        return self.parameters if self.strict or self.parameters is None else loosened(self.parameters)

    def hints(self) -> Iterator[Hint]:
        yield from super().hints()
        if self.schema_held is not self.parameters:
            yield ".parameters", self.parameters

    def as_offered(self) -> dict[str, Any]:
        """As tandem.request takes it."""
        about = {"name": self.name, "description": self.description, "strict": self.strict}
        return {**about, "parameters": self.schema_held}


class OtherTool(Unread):
    """One that is no function: it is not offered to the models, which may do without."""

    read = ("function",)


class CalledFunction(Part):
    name: str
    arguments: str

    def hints(self) -> Iterator[Hint]:
        yield from super().hints()
        if self.arguments and as_object(self.arguments) is not self.arguments:
            yield ".arguments", self.arguments


def as_object(arguments: str) -> str:
    """The arguments of an earlier call, as the JSON object that models and APIs take; a text that is none becomes part
    of one.
    """
    try:
        is_object = isinstance(read_json_text(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        is_object = False
    return (arguments or "{}") if is_object else json.dumps({"arguments": arguments}, ensure_ascii=False)
