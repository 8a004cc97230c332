"""Tools in OpenAI's chat format: offered ones, calls of earlier answers, and how they are to be used."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FunctionBody(_Body):
    """`strict`: a schema that no text can be held to in full is refused."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolBody(_Body):
    type: Literal["function"]
    function: FunctionBody


class CalledFunction(_Body):
    name: str
    arguments: str


class CallBody(_Body):
    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: CalledFunction


class NamedFunction(_Body):
    name: str


class NamedTool(_Body):
    type: Literal["function"]
    function: NamedFunction


class AllowedTools(_Body):
    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1)


class AllowedChoice(_Body):
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
