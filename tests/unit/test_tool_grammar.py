"""An answer that may call tools is held to free text and well-formed calls, whatever its model would write."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from llguidance import LLTokenizer

from services.models.engine.api import InvalidSchema
from services.models.engine.call_format import CallFormat
from services.models.engine.json_schema import compiled, cost_of_text, try_grammar
from services.models.engine.schema_findings import SchemaFindings
from services.models.engine.tagged_arguments import Tags
from services.models.engine.tool_grammar import GENERIC, tool_grammar
from services.models.without_engine import check_tool_schemas
from tandem.method.errors import InvalidArgument
from tandem.method.tools import Tool, ToolUse
from tests.unit.test_call_format import BARE, FENCED, LISTED, TAGS

TAGGED = CallFormat("<f=", "", "<f=", "</f>", tags=Tags("<p=", ">", "</p>"))
F = Tool("f", "", json.dumps({"properties": {"a": {"type": "string"}, "n": {"type": "integer"}}, "required": ["a"]}))
G = Tool("g.h")
USE = ToolUse((F, G))
CALL, OTHER = ("f", '{"a": "x", "n": 1}'), ("g.h", "{}")


def written(form: CallFormat, *calls: tuple[str, str]) -> str:
    return form.first + form.between.join(f"{name}{form.middle}{arguments}" for name, arguments in calls) + form.end


def holds(form: CallFormat, use: ToolUse, text: str) -> bool:
    """A text may be written from its beginning to its end."""
    matcher = compiled(LLTokenizer("byte"), tool_grammar(form, use))
    content = list(text.encode())
    return matcher.try_consume_tokens(content) == len(content) and matcher.is_accepting()


@pytest.mark.parametrize("form", [TAGS, BARE, FENCED, LISTED, GENERIC])
def test_text_or_calls_may_be_written_and_are_read_again(form: CallFormat) -> None:
    calls = [CALL, OTHER] if form.between else [CALL]
    assert holds(form, USE, "It is sunny.\n{}")
    assert holds(form, USE, written(form, *calls))
    assert form.read(written(form, *calls)) == ("", calls)
    if form.mark:
        assert holds(form, USE, "Let me look. " + written(form, CALL))


@pytest.mark.parametrize("form", [TAGS, BARE, FENCED, LISTED, GENERIC])
def test_an_answer_is_not_empty(form: CallFormat) -> None:
    for text in ("", " ", "\n\n"):
        assert not holds(form, USE, text)
    assert holds(form, USE, "\n It.")


@pytest.mark.parametrize("form", [TAGS, BARE, FENCED, LISTED])
@pytest.mark.parametrize(
    "call", [("h", "{}"), ("f", "{}"), ("f", '{"a": 1}'), ("f", '{"a": "x", "b": 1}'), ("g.h", '{"x": 1}'), ("f", "[]"), ("f", '{"a":"x"}')]
)  # fmt: skip
def test_no_other_tool_and_no_other_arguments_may_be_written(form: CallFormat, call: tuple[str, str]) -> None:
    assert not holds(form, USE, written(form, call))


def test_a_required_call_is_all_that_may_be_written() -> None:
    use = replace(USE, mode="required")
    assert holds(TAGS, use, written(TAGS, CALL, OTHER))
    assert not holds(TAGS, use, "It is sunny.")
    assert not holds(TAGS, use, "Well, " + written(TAGS, CALL))
    assert not holds(TAGS, replace(use, allowed=("f",)), written(TAGS, OTHER))


def test_one_call_at_most_where_they_are_not_parallel() -> None:
    assert not holds(TAGS, replace(USE, parallel=False), written(TAGS, CALL, OTHER))
    assert holds(TAGS, replace(USE, parallel=False), written(TAGS, CALL))


@pytest.mark.parametrize("fence", [("", ""), ("```json\n", "\n```"), ("```\n", "\n```")])
def test_a_call_in_bare_json_or_in_a_block_is_held_as_well(fence: tuple[str, str]) -> None:
    begin, end = fence
    text = begin + '{\n  "name": "f",\n  "arguments": {\n    "a": "x",\n    "n": 1\n  }\n}' + end
    assert holds(TAGS, USE, text)
    assert TAGS.read(text) == ("", [("f", '{"a": "x", "n": 1}')])
    assert not holds(TAGS, USE, text.replace('"n": 1', '"n": "1"'))
    assert not holds(TAGS, USE, text.replace('"f"', '"h"'))
    assert holds(TAGS, replace(USE, mode="required"), text)
    assert holds(TAGS, USE, '```python\nprint({"name": 1})\n```')


TWO = ['{"name": "f", "arguments": {"a": "x"}}', '{"name": "g.h", "arguments": {}}']


@pytest.mark.parametrize("bare", [f"[{', '.join(TWO)}]", f"[\n  {TWO[0]},\n  {TWO[1]}\n]", f"[{TWO[0]}]"])
@pytest.mark.parametrize("fence", [("", ""), ("```json\n", "\n```")])
def test_several_calls_in_bare_json_are_held_and_read_as_well(bare: str, fence: tuple[str, str]) -> None:
    text = bare.join(fence)
    several = TWO[1] in bare
    assert holds(TAGS, USE, text)
    assert TAGS.read(text) == ("", [("f", '{"a": "x"}'), ("g.h", "{}")][: 1 + several])
    assert holds(TAGS, replace(USE, parallel=False), text) is not several
    assert not holds(TAGS, USE, text.replace('"a": "x"', '"a": 1'))
    assert not holds(TAGS, USE, text.replace('"f"', '"h"'))


def test_bare_calls_one_after_the_other_are_read_but_one_is_all_that_is_written() -> None:
    text = "\n".join(TWO)
    assert TAGS.read(text) == ("", [("f", '{"a": "x"}'), ("g.h", "{}")])
    assert not holds(TAGS, USE, text)


def test_a_list_of_something_else_is_a_text() -> None:
    for text in ("[1, 2]", '```json\n[{"id": 1}]\n```', "[]", '{"id": 1}\n{"id": 2}'):
        assert holds(TAGS, USE, text)
        assert TAGS.read(text) == (text, [])


@pytest.mark.parametrize("form", [TAGS, FENCED, LISTED, GENERIC])
def test_with_a_schema_an_answer_is_calls_or_follows_it(form: CallFormat) -> None:
    schema = json.dumps({"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]})

    def held(text: str, use: ToolUse = USE) -> bool:
        matcher = compiled(LLTokenizer("byte"), tool_grammar(form, use, schema))
        return matcher.try_consume_tokens(list(text.encode())) == len(text) and matcher.is_accepting()

    assert held('{"sum": 3}')
    assert held(written(form, CALL))
    assert not held('{"sum": "3"}')
    assert not held("It is 3.")
    assert not held('{"sum": 3}', replace(USE, mode="required"))
    assert held(written(form, CALL), replace(USE, mode="required"))


def test_nothing_follows_the_calls_and_half_a_call_is_no_answer() -> None:
    assert not holds(TAGS, USE, written(TAGS, CALL) + " Done.")
    assert not holds(TAGS, USE, written(TAGS, CALL)[:-3])


def test_a_loose_schema_is_held_as_far_as_possible_and_a_strict_one_is_refused() -> None:
    schema = json.dumps({"type": "object", "properties": {"a": {"not": {"type": "null"}}}, "required": ["a"]})
    loose, strict = Tool("f", "", schema), Tool("f", "", schema, strict=True)
    assert holds(TAGS, ToolUse((loose,)), written(TAGS, ("f", '{"a": 1}')))
    with pytest.raises(InvalidSchema):
        compiled(LLTokenizer("byte"), tool_grammar(TAGS, ToolUse((strict,))))


def test_a_schemas_own_references_are_its_own() -> None:
    schema = {"$defs": {"p": {"type": "integer"}}, "properties": {"n": {"$ref": "#/$defs/p"}}, "required": ["n"]}
    use = ToolUse((Tool("f", "", json.dumps(schema)), G))
    assert holds(TAGS, use, written(TAGS, ("f", '{"n": 1}')))
    assert not holds(TAGS, use, written(TAGS, ("f", '{"n": "1"}')))


def test_what_a_tool_says_of_itself_is_no_grammar() -> None:
    evil = Tool("f", 'x" | TEXT\nstart: TEXT', json.dumps({"properties": {'a"\nstart: TEXT\n': {"type": "integer"}}}))
    text = written(TAGS, ("f", '{"a\\"\\nstart: TEXT\\n": 1}'))
    assert holds(TAGS, replace(ToolUse((evil,)), mode="required"), text)
    assert not holds(TAGS, replace(ToolUse((evil,)), mode="required"), "x")


@pytest.mark.parametrize("form", [TAGS, GENERIC, TAGGED])
@pytest.mark.parametrize("evil", ["<[7]>", "a\u2028b", "a %json {", "\x85", "%llguidance {}"])
async def test_no_text_of_a_schema_is_read_as_part_of_the_grammar(form: CallFormat, evil: str) -> None:
    schema = {"type": "object", "properties": {evil: {"enum": [evil, 1]}, "t": {"enum": [evil]}}, "required": [evil]}
    held = tool_grammar(form, ToolUse((Tool("f", "", json.dumps(schema)),)), json.dumps(schema))
    assert await SchemaFindings().num_bytes(held) >= 0
    assert cost_of_text(held).milliseconds == pytest.approx(2 * cost_of_text(json.dumps(schema)).milliseconds)
    assert "<[7]>" not in held.text


async def test_tools_that_are_too_costly_are_refused_before_a_model_is_asked() -> None:
    costly = Tool("f", "", json.dumps({"properties": {"n": {"type": "integer", "multipleOf": 9999991}}}))
    with pytest.raises(InvalidArgument, match="multipleOf") as caught:
        await check_tool_schemas(ToolUse((G, costly)))
    assert caught.value.field == "tools"
    await check_tool_schemas(USE)
    assert await SchemaFindings().num_bytes(tool_grammar(GENERIC, USE)) >= 0
    assert cost_of_text(tool_grammar(GENERIC, USE)).milliseconds < 1
    try_grammar(tool_grammar(GENERIC, USE).text)
