"""Calls whose arguments stand between tags: read off a template as other forms, read by the tools' schemas, and held to
them.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.models.engine.api import InvalidSchema
from services.models.engine.call_format import CallFormat
from services.models.engine.json_schema import cost_of_text
from services.models.engine.tagged_arguments import Tags
from services.models.engine.tool_grammar import tool_grammar
from tandem.method.tools import Tool, ToolUse
from tests.unit.test_call_format import template
from tests.unit.test_tool_grammar import holds

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "sky": {"enum": ["sun", "rain"]},
        "at": {"$ref": "#/$defs/place"},
        "now": {"type": "boolean"},
    },
    "required": ["city"],
    "$defs": {"place": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
}
WEATHER, CLOCK, FREE = Tool("weather", "", json.dumps(SCHEMA)), Tool("clock"), Tool("free", "", '{"type": "object"}')
USE = ToolUse((WEATHER, CLOCK, FREE))
FORM = template("tagged").calls


def call(name: str, *arguments: tuple[str, str]) -> str:
    parts = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments)
    return f"<tool_call>\n<function={name}>\n{parts}</function>\n</tool_call>"


def test_a_template_shows_how_arguments_stand_between_tags() -> None:
    end = ">\n</function>\n</tool_call>"
    assert (
        CallFormat(
            "<tool_call>\n<function=",
            "",
            f"{end}\n<tool_call>\n<function=",
            end,
            tags=Tags(">\n<parameter=", ">\n", "\n</parameter"),
        )
        == FORM
    )
    assert (FORM.mark, FORM.are_texts) == ("<tool_call>", False)


def test_what_the_template_writes_is_read_as_the_same_calls() -> None:
    arguments = {"city": '42 "Köln"\n</p> {', "days": 3, "at": {"x": 1.5}, "now": True}
    functions = [{"name": "weather", "arguments": arguments}, {"name": "clock", "arguments": {}}]
    calls = [{"id": f"c{n}", "type": "function", "function": function} for n, function in enumerate(functions)]
    text = template("tagged").render(
        [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Hm.", "tool_calls": calls}]
    )
    said, read = FORM.read(text.partition("assistant\n")[2], USE.schemas)
    assert said == "Hm."
    assert [(name, json.loads(given)) for name, given in read] == [("weather", arguments), ("clock", {})]


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("city", "42", "42"),
        ("city", "true", "true"),
        ("sky", "sun", "sun"),
        ("days", "42", 42),
        ("now", "True", True),
        ("now", "false", False),
        ("days", "many", "many"),
        ("other", "[1]", [1]),
        ("other", "x", "x"),
        ("at", '{"x": 1}', {"x": 1}),
    ],
)
def test_a_value_is_read_as_its_schema_says(key: str, value: str, read: Any) -> None:
    [(_, arguments)] = FORM.read(call("weather", (key, value)), USE.schemas)[1]
    assert json.loads(arguments) == {key: read}


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_call_that_is_cut_is_none(cut: int) -> None:
    whole = call("weather", ("city", "Paris"))
    assert FORM.read(whole[: len(whole) * cut // 8], USE.schemas)[1] == []


def test_text_or_calls_may_be_written() -> None:
    paris = call("weather", ("city", "Paris <b>\n42"), ("days", "3"), ("sky", "rain"), ("at", '{"x": 1.5}'))
    assert holds(FORM, USE, "It is sunny.")
    assert holds(FORM, USE, paris)
    assert holds(FORM, USE, f"Wait.\n{call('clock')}\n{paris}")
    assert holds(FORM, USE, call("free", ("anything", "at all"), ("more", "1")))


@pytest.mark.parametrize(
    "text",
    [
        call("other"),
        call("weather"),
        call("clock", ("x", "1")),
        call("weather", ("city", "Paris"), ("days", "many")),
        call("weather", ("city", "Paris"), ("sky", "snow")),
        call("weather", ("city", "Paris"), ("at", "{}")),
        call("weather", ("city", "Paris"), ("other", "1")),
    ],
)
def test_no_other_tool_and_no_other_arguments_may_be_written(text: str) -> None:
    assert not holds(FORM, USE, text)


def test_what_a_schema_costs_is_known_of_each_argument() -> None:
    assert cost_of_text(tool_grammar(FORM, USE))
    with pytest.raises(InvalidSchema):
        cost_of_text(tool_grammar(FORM, ToolUse((Tool("f", "", '{"properties": {"n": {"multipleOf": 9999991}}}'),))))


def test_a_text_that_cannot_be_held_as_strictly_as_asked_is_refused() -> None:
    schema = '{"properties": {"a": {"type": "string", "pattern": "^x$"}}}'
    assert holds(FORM, ToolUse((Tool("f", "", schema),)), call("f", ("a", "y")))
    with pytest.raises(InvalidSchema, match="'pattern' of the tool 'f'"):
        tool_grammar(FORM, ToolUse((Tool("f", "", schema, strict=True),)))
