"""A model's chat template: a conversation, with the tools that it may call, as the text that the model reads.

Without transformers and torch, in the environment that transformers gives a template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.models.engine.api import PromptRefused
from services.models.engine.call_derivation import derived_format
from services.models.engine.call_format import CallFormat, Turn
from tandem.method.request.prompt_data import in_json
from tandem.method.tools import short_id


class ChatTemplate:
    """`special` are the tokens that the template may name, as `bos_token`."""

    def __init__(self, text: str | None, special: Mapping[str, str]) -> None:
        self._text, self._special = text, special

    def render(self, turns: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str:
        """Up to where the assistant's turn begins. Raises PromptRefused."""
        said = [_turn(*turn) if isinstance(turn, tuple) else turn for turn in turns]
        if any("tool_calls" in turn for turn in said):
            said = [_with_texts(turn) for turn in said] if self.calls.are_texts else said
            said = [_with_short_ids(turn) for turn in said] if self.calls.has_ids else said
        return self._render(said, tools, begins_answer=True)

    @cached_property
    def calls(self) -> CallFormat:
        """How the model writes calls. Raises PromptRefused where the template does not show it."""
        return derived_format(self._render)

    def _render(self, turns: Sequence[Turn], tools: Sequence[Turn], *, begins_answer: bool) -> str:
        values = {"messages": turns, "add_generation_prompt": begins_answer, **self._special}
        try:
            return str(self._compiled.render(values | ({"tools": tools} if tools else {})))
        except (TemplateError, TypeError, KeyError) as error:  # some want no system message, or turns that alternate
            raise PromptRefused(f"the model's chat template does not take these messages: {error}") from error

    @cached_property
    def _compiled(self) -> Any:
        if self._text is None:
            raise PromptRefused("the model has no chat template")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        return environment.from_string(self._text)


class _Generation(Extension):
    """`{% generation %}` marks what a training learns, and changes no text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _turn(role: str, content: str) -> Turn:
    return {"role": role, "content": content}


def _with_texts(turn: Turn) -> Turn:
    """With the arguments of its calls as texts."""
    if "tool_calls" not in turn:
        return turn
    functions = [call["function"] for call in turn["tool_calls"]]
    texts = [{**function, "arguments": _to_json(function["arguments"])} for function in functions]
    return {**turn, "tool_calls": [{**c, "function": f} for c, f in zip(turn["tool_calls"], texts, strict=True)]}


def _with_short_ids(turn: Turn) -> Turn:
    """With ids of calls as the model writes them."""
    if "tool_call_id" in turn:
        return {**turn, "tool_call_id": short_id(turn["tool_call_id"])}
    calls = turn.get("tool_calls", ())
    return {**turn, "tool_calls": [{**call, "id": short_id(call["id"])} for call in calls]} if calls else turn


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **more: Any) -> str:
    return in_json(json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **more))


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)
