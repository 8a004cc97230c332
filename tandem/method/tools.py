"""Tools that a caller offers, and calls of them: what a model may write instead of a text, or beside one."""

# No `from __future__ import annotations`: see tandem.method.request.request.
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tandem.method.errors import InvalidArgument
from tandem.method.json_text import read_json_text

Call = tuple[str, str]
"""Its name, and its arguments as a text of JSON."""
ToolMode = Literal["auto", "none", "required"]
"""`auto`: a text, calls, or both; `none`: a text; `required`: at least one call."""
TOKENS_PER_TOOL = 32
"""What a chat template adds to a tool, at most."""
NO_PARAMETERS = '{"type": "object", "properties": {}, "additionalProperties": false}'
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@dataclass(frozen=True)
class Tool:
    """`parameters` is the JSON schema of its arguments; empty: it takes none. `strict`: a schema that no text can be
    held to in full is refused, where it is otherwise held as far as possible.
    """

    name: str
    description: str = ""
    parameters: str = ""
    strict: bool = False

    @property
    def schema(self) -> str:
        return self.parameters or NO_PARAMETERS

    @property
    def whole(self) -> str:
        """All that a model reads of it, to be counted."""
        return self.name + self.description + self.schema

    def as_data(self) -> dict[str, Any]:
        """As chat templates know it. Raises InvalidArgument where the schema is no JSON object."""
        about = {"name": self.name, "description": self.description, "parameters": _object(self.schema, "tools")}
        return {"type": "function", "function": about}


@dataclass(frozen=True)
class ToolCall:
    """`arguments` is the text of a JSON object, as the model wrote it. `id` is unique in its conversation."""

    id: str
    name: str
    arguments: str

    def values(self) -> dict[str, Any]:
        """Raises InvalidArgument where the arguments are no JSON object."""
        return _object(self.arguments, "messages")


@dataclass(frozen=True)
class ToolUse:
    """The tools of a request, and how they are to be used. `allowed`: only these may be called; empty: all. Not
    `parallel`: one call at most.
    """

    tools: tuple[Tool, ...] = ()
    mode: ToolMode = "auto"
    allowed: tuple[str, ...] = ()
    parallel: bool = True

    @property
    def may_call(self) -> bool:
        return bool(self.tools) and self.mode != "none"

    @property
    def callable(self) -> list[Tool]:
        return [tool for tool in self.tools if not self.allowed or tool.name in self.allowed]

    @property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """Of the tools' arguments, by the tools' names."""
        return {tool.name: _object(tool.schema, "tools") for tool in self.tools}

    @property
    def offered(self) -> list[Tool]:
        """To an API: few know tools that are read and may not be called, and llama.cpp's server knows no choice of one
        by its name.
        """
        return self.callable if self.may_call else list(self.tools)


def check_tools(use: ToolUse) -> None:
    """Raises InvalidArgument (fields "tools" and "tool_choice")."""
    names = [tool.name for tool in use.tools]
    for tool in use.tools:
        if not _NAME.fullmatch(tool.name):
            raise InvalidArgument(
                f"a tool's name has 1 to 128 of the characters A-Z a-z 0-9 _ . -, not {tool.name!r}", field="tools"
            )
        if names.count(tool.name) > 1:
            raise InvalidArgument(f"two tools are called {tool.name!r}", field="tools")
        tool.as_data()
    if unknown := [name for name in use.allowed if name not in names]:
        raise InvalidArgument(f"no tool is called {unknown[0]!r}", field="tool_choice")
    if use.mode == "required" and not use.tools:
        raise InvalidArgument("a call is required, and there are no tools", field="tool_choice")


def call_id(request_id: str, number: int) -> str:
    """Of call `number` in the answer to a request: the same whenever it is asked, and another in every other answer."""
    return f"call_{hashlib.sha256(f'{request_id}/{number}'.encode()).hexdigest()[:24]}"


def short_id(call_id: str) -> str:
    """A call's id as every model and every API takes it: Mistral's have nine letters and digits."""
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]


def named(calls: Sequence[ToolCall]) -> tuple[Call, ...]:
    return tuple((call.name, call.arguments) for call in calls)


def as_lines(calls: Sequence[Call]) -> str:
    """For people and judges."""
    return "\n".join(f"{name}({arguments})" for name, arguments in calls)


def calls_as_json(calls: Sequence[ToolCall]) -> str:
    """A list of calls, each with `name` and `arguments`."""
    return json.dumps([{"name": call.name, "arguments": call.values()} for call in calls], ensure_ascii=False)


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        found = read_json_text(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{text[:80]!r} is no JSON object: {error}", field=where) from None
    if not isinstance(found, dict):
        raise InvalidArgument(f"{text[:80]!r} is no JSON object", field=where)
    return found
