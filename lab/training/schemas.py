"""JSON schemas of extraction tasks: every part is required and bounded, so that a model comes to an end."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def record(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def listed(items: Schema, most: int) -> Schema:
    return {"type": "array", "items": items, "maxItems": most}


def text(most: int, description: str = "") -> Schema:
    return _described({"type": "string", "maxLength": most}, description)


def day() -> Schema:
    return {"type": "string", "format": "date"}


def integer(description: str = "") -> Schema:
    return _described({"type": "integer", "minimum": 0, "maximum": 10_000_000}, description)


def number(description: str = "") -> Schema:
    return _described({"type": "number", "minimum": 0, "maximum": 10_000_000}, description)


def boolean() -> Schema:
    return {"type": "boolean"}


def choice(*values: str) -> Schema:
    return {"enum": list(values)}


def nullable(schema: Schema, description: str) -> Schema:
    return _described({"anyOf": [schema, {"type": "null"}]}, description)


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description} if description else schema
