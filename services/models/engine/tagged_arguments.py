"""Arguments of a call that stand one by one between tags, as Qwen3-Coder writes them: texts as they are, all else as
JSON.

How a value is to be read depends on the tool's schema: a text that looks like a number is one only where the schema
wants a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_PYTHONS = {"True": True, "False": False, "None": None}
"""What some templates show a model of earlier calls."""


@dataclass(frozen=True, slots=True)
class Tags:
    """Each argument is `before`, its name, `between`, its value, `after`."""

    before: str
    between: str
    after: str

    @property
    def written(self) -> str:
        return self.before + self.between + self.after

    def write(self, arguments: Mapping[str, Any]) -> str:
        return "".join(
            f"{self.before}{name}{self.between}{_text(value)}{self.after}" for name, value in arguments.items()
        )

    def read_call(self, text: str, start: int, middle: str, schemas: Mapping[str, Any]) -> tuple[str, str, int] | None:
        """Name, arguments as JSON, and where they end. `schemas`: of the tools by their names."""
        found = _NAME.match(text, start)
        if found is None or not text.startswith(middle, found.end()):
            return None
        properties = schemas.get(found.group(), {}).get("properties")
        place, values = found.end() + len(middle), dict[str, Any]()
        while text.startswith(self.before, place):
            name, is_named, _ = text[place + len(self.before) :].partition(self.between)
            begin = place + len(self.before) + len(name) + len(self.between)
            end = text.find(self.after, begin)
            if not is_named or end < 0:
                return None
            values[name] = _value(text[begin:end], properties.get(name) if isinstance(properties, dict) else None)
            place = end + len(self.after)
        return found.group(), json.dumps(values, ensure_ascii=False), place


def tags_of(text: str, name: str, values: Sequence[tuple[str, str]]) -> Tags | None:
    """From a call of `name` with two arguments, each (name, value), as a template writes it; None where it stands not
    between tags.
    """
    (first, value), (second, other) = values
    parts = re.fullmatch("(.*?)".join(map(re.escape, ("", name, first, value, second, other, ""))), text, re.DOTALL)
    if parts is None:
        return None
    _, begun, between, ended, again, rest = parts.groups()
    before = _common_end(begun, ended)
    after = ended.removesuffix(before)
    is_tagged = before and between and after and between == again and rest.startswith(after)
    return Tags(before, between, after) if is_tagged else None


def is_text(schema: Any) -> bool:
    """Whether a value that follows it is a text, which stands there as it is."""
    if not isinstance(schema, dict):
        return False
    choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if isinstance(choices, list) and choices:
        return all(isinstance(choice, str) for choice in choices)
    return schema.get("type") == "string"


def _value(text: str, schema: Any) -> Any:
    if is_text(schema):
        return text
    try:
        return _PYTHONS[text] if text in _PYTHONS else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _common_end(text: str, other: str) -> str:
    most = min(len(text), len(other))
    size = next((size for size in range(most, 0, -1) if text[-size:] == other[-size:]), 0)
    return text[len(text) - size :]
