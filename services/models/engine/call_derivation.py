"""How a model writes calls, read off its chat template, which shows the model its own earlier calls in that form.

The template renders two calls of known names and arguments. What stands around them is what the model writes around any
call. So no model's format is written down here, and a call in the next turn's prompt is, token by token, what the model
wrote.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.models.engine.api import PromptRefused
from services.models.engine.call_format import AN_ID, CallFormat, Turn
from services.models.engine.tagged_arguments import Tags, tags_of

_NAMES = "tandem_first", "tandem_second"
_ARGUMENTS: dict[str, Any] = {"tandem_key": "tandem_value", "tandem_list": [1, 2]}
_TEXT = "tandem_text"
_IDS = "tndmid000", "tndmid001"
_USER: Turn = {"role": "user", "content": "tandem_question"}
_SEPARATORS = ((", ", ": "), (",", ":"))


class Render(Protocol):
    def __call__(self, turns: Sequence[Turn], tools: Sequence[Turn], *, begins_answer: bool) -> str:
        """Raises PromptRefused."""
        ...


def derived_format(render: Render) -> CallFormat:
    """Raises PromptRefused where the template shows no calls, or none in a form that is read here."""
    for are_texts in (False, True):
        try:
            found = _derived(render, are_texts)
        except PromptRefused:
            continue
        if found:
            return found
    raise PromptRefused(
        "the model's chat template shows no calls of tools, or none in a form that is known: this model cannot be "
        "given tools"
    )


def _derived(render: Render, are_texts: bool) -> CallFormat | None:
    header, end_of_turn = _around_a_text(render)
    one = _rendered_calls(render, _NAMES[:1], are_texts)
    one = one[_num_common(header, one) :]
    parts = _parts(one, _NAMES[0])
    if parts is None or AN_ID in parts.first:
        return None
    try:
        two = _rendered_calls(render, _NAMES, are_texts)
        between = _between(two, parts.middle + parts.arguments)
    except PromptRefused:  # it takes one call at a time
        between = ""
    tail = parts.tail
    end = tail.removesuffix(end_of_turn) if tail.endswith(end_of_turn) else tail.partition("<|")[0]
    return CallFormat(
        parts.first.lstrip(), parts.middle, between, end.rstrip(), parts.separators, are_texts, tags=parts.tags
    )


def _num_common(text: str, other: str) -> int:
    """Characters with which both begin."""
    differing = (at for at, pair in enumerate(zip(text, other, strict=False)) if pair[0] != pair[1])
    return next(differing, min(len(text), len(other)))


def _around_a_text(render: Render) -> tuple[str, str]:
    """What stands before and after the assistant's text."""
    text = render([_USER, {"role": "assistant", "content": _TEXT}], _tools(), begins_answer=False)
    header, _, end = text.rpartition(_TEXT)
    return header, end


def _rendered_calls(render: Render, names: Sequence[str], are_texts: bool) -> str:
    arguments = json.dumps(_ARGUMENTS) if are_texts else _ARGUMENTS
    calls = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name in zip(_IDS, names, strict=False)
    ]
    turns: list[Turn] = [_USER, {"role": "assistant", "content": "", "tool_calls": calls}]
    if any(name not in render(turns[:1], _tools(), begins_answer=True) for name in _NAMES):
        raise PromptRefused("the template does not show tools")
    text = render(turns, _tools(), begins_answer=False)
    return text.replace(_IDS[0], AN_ID).replace(_IDS[1], AN_ID)


def _tools() -> list[Turn]:
    schema = {"type": "object", "properties": {}}
    return [
        {"type": "function", "function": {"name": name, "description": "", "parameters": schema}} for name in _NAMES
    ]


@dataclass(frozen=True, slots=True)
class _Parts:
    """A call: before the name, between it and the arguments, and after them; and how the arguments are written."""

    first: str
    middle: str
    arguments: str
    tail: str
    separators: tuple[str, str] = _SEPARATORS[0]
    tags: Tags | None = None


def _parts(text: str, name: str) -> _Parts | None:
    for separators in _SEPARATORS:
        arguments = json.dumps(_ARGUMENTS, separators=separators)
        first, _, rest = text.partition(name)
        middle, is_there, tail = rest.partition(arguments)
        if is_there and middle:
            return _Parts(first, middle, arguments, tail, separators)
    if tags := tags_of(
        text, name, [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in _ARGUMENTS.items()]
    ):
        first, _, rest = text.partition(name)
        middle, _, tail = rest.partition(tags.write(_ARGUMENTS))
        return _Parts(first, middle, tags.write(_ARGUMENTS), tail, tags=tags)
    return None


def _between(two: str, call: str) -> str:
    """From the first call's arguments to the second's name; empty where it is none of the kind. `call`: what follows
    each name.
    """
    _, found, rest = two.rpartition(_NAMES[0])[2].partition(call)
    between, is_there, tail = rest.partition(_NAMES[1])
    return between if found and is_there and tail.startswith(call) else ""
