"""How a model writes calls of tools, and how they are read from what it has written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from services.models.engine.tagged_arguments import Tags

Turn = Mapping[str, Any]
"""As chat templates know it: `role`, `content`, `tool_calls`, `tool_call_id`; or a tool."""
NO_SCHEMAS: Mapping[str, Any] = {}
_BLOCK = re.compile(r"\s*(?:```(?:json)?\s*)?([\[{].*[\]}])\s*(?:```)?\s*", re.DOTALL)
_SPACE = re.compile(r"\s*")
_MARK = re.compile(r"\s*[^\s{\"]*")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
AN_ID, ID_PATTERN = "⟦id⟧", "[A-Za-z0-9]{9}"
"""Where a format has the id of a call, which the model makes up, and what it makes up (Mistral's)."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """What an answer that may call tools is held to, in llguidance's notation. A type of its own, so that no text of a
    caller's is taken for one: a text is a JSON schema, however it begins. `schemas`: the texts of those in it.
    """

    text: str
    schemas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallFormat:
    """Calls are `first`, a name, `middle`, arguments, then for each further call `between`, a name, `middle`,
    arguments, then `end`.

    `between` is empty where the model writes one call at most. `separators` are those of the arguments' JSON, after an
    item and after a key. `are_texts`: the template takes arguments as texts of JSON. `tokens` are parts of it that the
    tokenizer has as tokens of their own, with their ids.

    Some models write calls as bare JSON, one after the other or in a list, perhaps in a block of code, whatever their
    template asks for:
    these are calls where the format has a `mark`, if they are all that is written. Not `reads_bare`: they are text. All
    parts but `first` may have `AN_ID` in them, which is not kept: a call has an id of ours. With `tags` the arguments
    are no JSON, but stand between these.
    """

    first: str
    middle: str
    between: str
    end: str
    separators: tuple[str, str] = (", ", ": ")
    are_texts: bool = False
    tokens: tuple[tuple[str, int], ...] = ()
    reads_bare: bool = True
    tags: Tags | None = None

    @property
    def mark(self) -> str:
        """What a text cannot hold where calls may follow it; empty where a call can only be all that is written."""
        found = _MARK.match(self.first)
        begun = [token for token, _ in self.tokens if self.first.startswith(token)]
        return max(begun, key=len) if begun else found.group() if found else ""

    @property
    def has_ids(self) -> bool:
        return AN_ID in self.written

    @property
    def written(self) -> str:
        """All that the model writes around names and arguments."""
        return self.first + self.middle + (self.tags.written if self.tags else "") + self.between + self.end

    def read(self, text: str, schemas: Mapping[str, Any] = NO_SCHEMAS) -> tuple[str, list[tuple[str, str]]]:
        """The text before the calls, and each call's name and arguments. What is no whole call is none. `schemas`: of
        the tools by their names, which say what is a text between tags.
        """
        at = self._start(text)
        if at < 0:
            return _bare(text) if self.mark and self.reads_bare else (text.strip(), [])
        return text[:at].strip(), self._calls(text, at, schemas)[0]

    def read_begun(self, text: str, schemas: Mapping[str, Any] = NO_SCHEMAS) -> list[tuple[str, str]]:
        """The calls of a text that is being written: those that `read` finds at its end, whatever follows. Of the last
        one the arguments may be cut.
        """
        if (at := self._start(text)) < 0:
            return []
        calls, place = self._calls(text, at, schemas)
        middle = None if place is None else _pattern(self.middle).search(text, place)
        if middle and _NAME.fullmatch(name := text[place : middle.start()]):
            calls.append((name, "" if self.tags else text[middle.end() :]))
        return calls

    def _start(self, text: str) -> int:
        return text.find(self.first) if self.mark else 0 if text.startswith(self.first) else -1

    def _calls(self, text: str, at: int, schemas: Mapping[str, Any]) -> tuple[list[tuple[str, str]], int | None]:
        """The whole calls from `at`, and where another one begins."""
        calls, place = [], _end(self.first, text, at)
        while place is not None and (call := self._call(text, place, schemas)):
            name, arguments, after = call
            calls.append((name, arguments))
            place = _end(self.between, text, after) if self.between else None
        return calls, place

    def _call(self, text: str, start: int, schemas: Mapping[str, Any]) -> tuple[str, str, int] | None:
        """Name, arguments, and where they end."""
        if self.tags:
            found = self.tags.read_call(text, start, self.middle, schemas)
            is_whole = found and any(text.startswith(part, found[2]) for part in (self.end, self.between) if part)
            return found if is_whole else None
        middle = _pattern(self.middle).search(text, start)
        if middle is None:
            return None
        try:
            _, stop = json.JSONDecoder().raw_decode(text, middle.end())
        except (ValueError, RecursionError):
            return None
        return text[start : middle.start()], text[middle.end() : stop], stop


def _end(part: str, text: str, place: int) -> int | None:
    """Where a part of the format that stands at `place` ends; None: it does not stand there."""
    found = _pattern(part).match(text, place)
    return found.end() if found else None


@cache
def _pattern(part: str) -> re.Pattern[str]:
    return re.compile(re.escape(part).replace(re.escape(AN_ID), ID_PATTERN))


def _bare(text: str) -> tuple[str, list[tuple[str, str]]]:
    """As `CallFormat.read`, where the whole text is calls as JSON."""
    block = _BLOCK.fullmatch(text)
    calls = [_bare_call(value) for value in _values(block.group(1))] if block else []
    return ("", [call for call in calls if call]) if calls and all(calls) else (text.strip(), [])


def _values(text: str) -> list[Any]:
    """Those of a JSON list, or of JSON texts one after the other; none where there is anything else."""
    values, place = [], 0
    while place < len(text):
        try:
            value, end = json.JSONDecoder().raw_decode(text, place)
        except (ValueError, RecursionError):
            return []
        values.append(value)
        space = _SPACE.match(text, end)
        assert space  # it may be empty
        place = space.end()
    return values[0] if len(values) == 1 and isinstance(values[0], list) else values


def _bare_call(value: Any) -> tuple[str, str] | None:
    if not isinstance(value, dict) or value.keys() != {"name", "arguments"}:
        return None
    name, arguments = value["name"], value["arguments"]
    is_call = isinstance(name, str) and isinstance(arguments, dict)
    return (name, json.dumps(arguments, ensure_ascii=False)) if is_call else None
