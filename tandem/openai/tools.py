"""Tools in OpenAI's chat format: offered ones, calls of earlier answers, and how they are to be used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from tandem.openai.body import Hint, Part, Strict, Unread, as_object
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


class ToolBody(Part):
    type: Literal["function"]
    function: FunctionBody


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


class CallBody(Part):
    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: CalledFunction

    def as_said(self) -> dict[str, Any]:
        """As tandem.request takes it."""
        function = {"name": self.function.name, "arguments": as_object(self.function.arguments)}
        return {"id": self.id, "function": function}


class NamedFunction(Strict):
    name: str


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


class AllowedTools(Strict):
    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1)


class AllowedChoice(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


Choice = Literal["auto", "none", "required"] | NamedTool | AllowedChoice


def as_options(choice: Choice) -> tuple[str, list[str]]:
    """The options `tool_choice` and `allowed_tools` of tandem.request that say the same."""
    if isinstance(choice, str):
        return choice, []
    if isinstance(choice, NamedTool):
        return "required", [choice.function.name]
    allowed = choice.allowed_tools
    return allowed.mode, [tool.function.name for tool in allowed.tools]
