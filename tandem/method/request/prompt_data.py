"""Texts of a caller's in a prompt: each is a hole in what a chat template renders, filled with tokens of plain text.

A template writes a tool, or a call's arguments, as JSON. There a text is filled in as JSON writes it: the hole says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_OPEN, _CLOSE, _IN_JSON = "⟦", "⟧", "json:"
_HOLES = re.compile(rf"{_OPEN}((?:{_IN_JSON})?(?:question|schema|insight|answer|failure|data\d+)){_CLOSE}")
_PLAIN = re.compile(r"[\w\s.,:;!?'\"()/+*=%&@#$^~`\\-]*")
"""No special token of any model, nor a part of one that matters, is made of these. The rest is data that needs a
hole.
"""


def hole(name: str) -> str:
    return f"{_OPEN}{name}{_CLOSE}"


def in_json(text: str) -> str:
    """A text of JSON that has holes: each is filled as JSON writes it."""
    return text.replace(_OPEN, _OPEN + _IN_JSON)


def split_holes(rendered: str) -> list[str]:
    """Text, name of a hole, text, ..., text."""
    return _HOLES.split(rendered)


class PromptData:
    """The texts of one prompt, by the names of their holes."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self._texts = dict(texts or {})

    def add(self, text: str) -> str:
        """The hole of a text."""
        name = f"data{len(self._texts)}"
        self._texts[name] = text
        return hole(name)

    def guarded(self, value: Any) -> Any:
        """A value of JSON, with a hole for each text in it that a model could take for more than text.

        Others stay, so that their tokens are those of the whole: what the model was trained to read.
        """
        if isinstance(value, str):
            return value if _PLAIN.fullmatch(value) else self.add(value)
        if isinstance(value, dict):
            return {self.guarded(name): self.guarded(inner) for name, inner in value.items()}
        return [self.guarded(inner) for inner in value] if isinstance(value, list) else value

    def filled(self, value: Any) -> Any:
        """The value of which `guarded` made one with holes."""
        if isinstance(value, str):
            return _HOLES.sub(lambda found: self.text_of(found[1]), value)
        if isinstance(value, Mapping):
            return {self.filled(name): self.filled(inner) for name, inner in value.items()}
        return [self.filled(inner) for inner in value] if isinstance(value, list) else value

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._texts)

    @staticmethod
    def name_of(hole: str) -> str:
        """Of the text that fills it, also where it stands in JSON."""
        return hole.removeprefix(_IN_JSON)

    def text_of(self, name: str) -> str:
        text = self._texts[self.name_of(name)]
        return json.dumps(text, ensure_ascii=False)[1:-1] if name.startswith(_IN_JSON) else text
