from __future__ import annotations

from typing import Any

import pytest

from services.models.engine.api import InvalidSchema
from services.models.engine.schema_cost import MAX_OPTIONAL_PROPERTIES, cost_of


def within(schema: dict[str, Any]) -> dict[str, Any]:
    """Below a property whose name has to be quoted, in a list of choices."""
    return {"type": "object", "properties": {"a price": {"anyOf": [{"type": "null"}, schema]}}}


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "integer", "multipleOf": 999983}, "multipleOf"),
        ({"type": "number", "multipleOf": 99.9991}, "multipleOf"),
        ({"type": "string", "maxLength": 10_001}, "maxLength"),
        ({"type": "array", "minItems": 1e9}, "minItems"),
    ],
)
def test_a_keyword_that_is_sure_to_be_too_costly_is_named_by_its_path(schema: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidSchema) as refused:
        cost_of(within(schema))
    assert f'$.properties["a price"].anyOf[1].{path}' in str(refused.value)


@pytest.mark.parametrize("step", [1, 5, 60, 3600, 86_400, 10**6, 10**12, 0.01, 0.25, 0.00001, 1e-9, 1e6, -3])
def test_the_steps_that_users_write_are_not_refused(step: float) -> None:
    cost_of(within({"type": "number", "multipleOf": step}))


def test_many_small_remainders_are_as_costly_as_a_large_one() -> None:
    with pytest.raises(InvalidSchema, match=r"prefixItems\[5\]"):
        cost_of({"prefixItems": [{"multipleOf": 9973 - i} for i in range(30)]})


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": [{"maxItems": 10**6}, {"multipleOf": 999983}]},
        {"const": {"minLength": 10**6}},
        {"default": {"multipleOf": 999983}, "examples": [{"maxLength": 10**6}]},
        {"properties": {"maxItems": {"type": "integer"}, "multipleOf": {}, "enum": {"type": "string"}}},
        {"multipleOf": "999983", "maxItems": True, "properties": [1], "pattern": 5},
    ],
)
def test_what_looks_like_a_keyword_is_none(schema: dict[str, Any]) -> None:
    cost_of(schema)


def test_the_costliest_keyword_is_found_below_a_property_of_a_keywords_name() -> None:
    schema = {"properties": {"enum": {"type": "string", "maxLength": 9000}, "b": {"maxLength": 10}}}
    cost = cost_of(schema)
    assert cost.path == "$.properties.enum.maxLength"
    assert cost.milliseconds > cost_of({"maxLength": 10}).milliseconds


def wide(count: int, required: int = 0) -> dict[str, Any]:
    names = [f"p{number}" for number in range(count)]
    return {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names[:required]}


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        (wide(MAX_OPTIONAL_PROPERTIES + 1), r"\$;"),
        (within(wide(MAX_OPTIONAL_PROPERTIES + 6, required=5)), r'\$\.properties\["a price"\];'),
        ({"anyOf": [wide(300), wide(300)]}, r"\$;"),
        ({"items": {"allOf": [{"anyOf": [{}] * 9}, wide(60)]}}, r"\$\.items;"),
        (
            {
                "anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b/items/0"}],
                "$defs": {"a": wide(300), "b": {"items": [wide(300)]}},
            },
            r"\$;",
        ),
    ],
)
def test_more_optional_properties_in_one_place_than_an_engine_can_hold_are_refused(
    schema: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidSchema, match=f"optional properties in one place: {path}"):
        cost_of(schema)


@pytest.mark.parametrize(
    "schema",
    [
        wide(2000, required=2000 - MAX_OPTIONAL_PROPERTIES),
        {"properties": {f"o{number}": wide(100) for number in range(30)}},
        {"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": [wide(300), {"items": {"$ref": "#/$defs/node"}}]}}},
        {"$ref": "#/nowhere/5", "properties": [1], "required": {}, "anyOf": 3},
    ],
)
def test_optional_properties_of_other_places_do_not_count(schema: dict[str, Any]) -> None:
    cost_of(schema)
