"""Tasks with tools and known answers, in the form of the Berkeley Function Calling Leaderboard (data/README.md)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.training.errors import DatasetError
from tandem.method.conversation import Message
from tandem.method.tools import Tool, ToolUse

FOLDER = Path(__file__).parent / "data"
# The leaderboard names types as Python does; JSON schemas have other names, and none for "any".
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": None}


@dataclass(frozen=True, slots=True)
class CallTask:
    """`functions` are the tools as the leaderboard describes them, which the answer's values are compared by. `answer`:
    the calls that are right, each {name: {argument: allowed values}}; empty: no call is.
    """

    id: str
    category: str
    messages: tuple[Message, ...]
    tools: ToolUse
    functions: tuple[Mapping[str, Any], ...]
    answer: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class CallTasks:
    """`sha256` is that of the file."""

    path: Path
    sha256: str
    items: tuple[CallTask, ...]

    def first(self, n: int | None) -> CallTasks:
        return self if n is None else replace(self, items=self.items[:n])


def load(name: str | Path) -> CallTasks:
    """`train` or `test`, or a file of such lines. Raises DatasetError."""
    known = FOLDER / f"{name}.jsonl"
    path = known if known.is_file() else Path(name)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"there is no file {str(name)!r}; tasks by name: train, test") from error
    items = [_task(line, number, path) for number, line in enumerate(raw.decode().splitlines(), 1) if line.strip()]
    if not items:
        raise DatasetError(f"{path} holds no tasks")
    return CallTasks(path, hashlib.sha256(raw).hexdigest(), tuple(items))


def are_tasks(name: str | Path) -> bool:
    """Whether a file has lines of this form."""
    try:
        with Path(name).open() as file:
            fields = json.loads(file.readline() or "null")
    except (OSError, ValueError):
        return False
    return isinstance(fields, dict) and {"functions", "answer"} <= fields.keys()


def _task(line: str, number: int, path: Path) -> CallTask:
    try:
        fields = json.loads(line)
        return CallTask(
            id=fields["id"],
            category=fields["category"],
            messages=tuple(Message(said["role"], said["content"]) for said in fields["messages"]),
            tools=ToolUse(tuple(_tool(function) for function in fields["functions"])),
            functions=tuple(fields["functions"]),
            answer=tuple(fields["answer"]),
        )
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}:{number}: no task: {error}") from error
    except KeyError as error:
        raise DatasetError(f"{path}:{number}: the field {error} is missing") from error


def _tool(function: Mapping[str, Any]) -> Tool:
    return Tool(function["name"], function["description"], json.dumps(json_schema_of(function["parameters"])))


def json_schema_of(parameters: Any) -> Any:
    """The leaderboard's description of a value as a JSON schema. A property may itself be called `type`."""
    if not isinstance(parameters, dict):
        return parameters
    found: dict[str, Any] = {}
    for keyword, value in parameters.items():
        if keyword == "type" and isinstance(value, str):
            if kind := _TYPES.get(value, value):
                found[keyword] = kind
        elif keyword == "properties":
            found[keyword] = {name: json_schema_of(each) for name, each in value.items()}
        else:
            found[keyword] = json_schema_of(value)
    return found
