"""JSON schemas that a text is held to: their bounds, and the text in which the gateway takes them."""

from __future__ import annotations

import json
from typing import Any

MOST_REPETITIONS = 10_000
"""Of a schema's bounds, such as `maxLength`: a text is held to no larger one (services.models.engine.schema_cost)."""
ANY_OBJECT = {"type": "object"}
_BOUNDS = frozenset({"maxLength", "maxItems", "maxProperties", "maxContains"})


def schema_text(schema: dict[str, Any], name: str = "", description: str = "") -> str:
    """The schema as JSON, with the given name and description where it has none."""
    about = {"title": name, "description": description}
    return json.dumps({**{key: text for key, text in about.items() if text}, **schema})


def loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """Without bounds that are too large for a text to be held to; the same object where there are none."""
    if not any(bound in json.dumps(schema) for bound in _BOUNDS):
        return schema
    found: dict[str, Any] = _loosened(schema)
    return schema if found == schema else found


def _loosened(value: Any) -> Any:
    if isinstance(value, list):
        return [_loosened(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: _loosened(inner) for name, inner in value.items() if not (name in _BOUNDS and _is_too_large(inner))}


def _is_too_large(bound: Any) -> bool:
    return isinstance(bound, int | float) and bound > MOST_REPETITIONS
