from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from services.models.engine.api import InvalidSchema
from services.models.engine.call_format import Grammar
from services.models.engine.json_schema import is_beginning
from services.models.engine.schema_findings import SchemaFindings
from services.models.without_engine import check_schema
from tandem.method.errors import InvalidArgument

GRAMMAR = "%llguidance {}\nstart: /.*/ any\nany: %json {}\n"
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "name": {"type": "string"}},
    "required": ["x", "name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("true", "not a JSON object"),
        (GRAMMAR, "not a JSON object"),
        (json.dumps(GRAMMAR), "not a JSON object"),
        (json.dumps('{}}, {"lark_grammar": "start: /(a?){99}a{99}/"'), "not a JSON object"),
        ('"{}"', "not a JSON object"),
        ("[" * 5000, "not a JSON object"),
        ('{"items":' * 900 + "{}" + "}" * 900, "deep|recursion|not a JSON object"),
        (json.dumps({"allOf": [{"multipleOf": 7}] * 600 + [{"not": {}}]}), "not"),
        ('{"minItems": -1' + "0" * 400 + "}", "minItems|not a JSON object|held"),
        ('{"multipleOf": 1' + "1" * 400 + "}", "digits"),
        ('{"maxItems": Infinity}', "maxItems"),
        ('{"type": "objet"}', "objet"),
        ('{"type": "object", "properties": {"a": 5}}', "object or boolean"),
        ('{"not": {"type": "string"}}', "not"),
        ('{"type": "array", "uniqueItems": true}', "uniqueItems"),
        ('{"x-guidance": {"lenient": true}, "not": {"type": "string"}}', "not"),
        ('{"$ref": "https://example.org/schema"}', "example.org"),
        ('{"$ref": "#/nowhere"}', "nowhere"),
        ('{"type": "integer", "minimum": 5, "maximum": 3}', "minimum"),
        ('{"type": "array", "items": {"type": "array", "maxItems": 1000000}}', "maxItems is 1000000"),
        (json.dumps({"enum": ["x" * 70_000]}), "characters"),
    ],
)
def test_a_schema_that_cannot_be_held_is_refused_by_the_name_of_its_field(schema: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as refused:
        asyncio.run(check_schema(schema))
    assert (refused.value.field, refused.value.reason) == ("json_schema", "INVALID_SCHEMA")


@pytest.mark.parametrize(
    "schema",
    [
        POINT,
        {"type": "array", "items": {"$ref": "#/$defs/point"}, "maxItems": 10_000, "$defs": {"point": POINT}},
        {"anyOf": [POINT, {"type": "null"}]},
        {"type": "string", "pattern": "^[a-z]{2,5}$"},
        {"type": "string", "format": "date"},
        {"enum": ["a", 1, None]},
        {"type": "object", "properties": {"maxItems": {"type": "integer", "title": "A property of this name"}}},
    ],
)
def test_what_users_write_is_held(schema: dict[str, Any]) -> None:
    asyncio.run(check_schema(json.dumps(schema)))


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("", True),
        ('{"x": 1', True),
        ('{\n    "x": 1,\n    "name": "é', True),
        ('{"x": 1, "name": "a"}', True),
        ("The answer is", False),
        ('{"x": "1', False),
        ('{"x": 1}', False),
        ('```json\n{"x": 1', False),
        ('{"x": 1, "name": "�', True),
        ('{"x": 1, "name": "a"} and', False),
    ],
)
def test_the_beginning_of_a_text_is_known_byte_by_byte(text: str, begins: bool) -> None:
    assert is_beginning(json.dumps(POINT), text) is begins


async def test_a_schema_of_a_grammars_own_text_is_refused_where_the_grammar_is_known() -> None:
    findings = SchemaFindings()
    assert await findings.num_bytes(Grammar(GRAMMAR, ("{}",))) >= 0
    with pytest.raises(InvalidSchema):
        await findings.num_bytes(GRAMMAR)
