"""JSON schemas by what they cost: small texts whose grammars take seconds and gigabytes, and others at the edge of the
bounds.

Each was measured with the library that compiles them (llguidance). The comments say what a schema cost without bounds.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

_TEXT = {"type": "string"}


def _remainder(number: float, **more: Any) -> dict[str, Any]:
    return {"type": "integer", "multipleOf": number, **more}


def _object(count: int, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{i}": value for i in range(count)}, **more}


def _nested(depth: int, keyword: str) -> dict[str, Any]:
    schema: dict[str, Any] = _TEXT
    for _ in range(depth):
        schema = {keyword: [schema]} if keyword.endswith("Of") else {"type": "array", keyword: schema}
    return schema


def _doubled(depth: int, keyword: str) -> dict[str, Any]:
    """2^depth ways to the same text, in a few lines."""
    schemas: dict[str, Any] = {"d0": _TEXT}
    for i in range(1, depth + 1):
        schemas[f"d{i}"] = {keyword: [{"$ref": f"#/$defs/d{i - 1}"}] * 2}
    return {"$ref": f"#/$defs/d{depth}", "$defs": schemas}


_DRAFT_4 = "http://json-schema.org/draft-04/schema#"
_PARTS = [{"anyOf": [{"type": "string", "pattern": f"^{c}{j}.*"} for c in "abcdefgh"]} for j in range(3)]
_KEYS = [{"anyOf": [{"type": "object", "required": [f"{c}{j}"]} for c in "ab"]} for j in range(16)]
COSTLY: dict[str, Any] = {
    "a remainder": _remainder(999983),  # 12 s, 330 MB
    "a greater remainder": _remainder(9999991),  # 231 s, 5.4 GB
    "a remainder of decimals": _remainder(99.9991),  # 12 s, 600 MB
    "a remainder of 32 bits": _remainder(4294967291),
    "remainders that must all hold": {"allOf": [_remainder(n) for n in (97, 101, 103)]},  # 3 s, 180 MB
    "more remainders that must all hold": {"allOf": [_remainder(n) for n in (97, 101, 103, 107)]},
    "a remainder behind a reference": {"$ref": "#/$defs/n", "$defs": {"n": _remainder(999979)}},
    "a remainder in a list": {"type": "array", "items": {"anyOf": [_TEXT, _remainder(999961)]}},
    "thirty remainders": {"anyOf": [{"type": "array", "prefixItems": [_remainder(9973 - i)]} for i in range(30)]},
    "lists of many lengths": _object(30, {}) | {
        "properties": {f"p{i}": {"type": "array", "maxItems": 10_000 - i, "items": _TEXT} for i in range(30)}
    },  # 0.8 s, 280 MB, at the gateway already
    "a long literal": {"enum": ["x" * 60_000]},  # 90 ms for each token
    "a long literal as a pattern": {"type": "string", "pattern": "^(xy){60000}$"},  # 200 ms for each token
}  # fmt: skip
"""Each must be refused, quickly."""
AWKWARD: dict[str, Any] = {
    "values that an old draft compares in pairs": {
        "$schema": _DRAFT_4,
        "enum": [{"a": i} for i in range(5000)],
    },  # 21 s as a check
    "properties": _object(1000, _TEXT),
    "more properties": _object(2200, _TEXT, additionalProperties=False),
    "patterns of properties": {"type": "object", "patternProperties": {f"^x{i}y.*": _TEXT for i in range(100, 300)}},
    "nested values": {"enum": [[[[i]]] for i in range(4000)]},
    "values and a pattern": {"type": "string", "pattern": "^x.*1y$", "enum": [f"x{i * 7919}y" for i in range(3000)]},
    "products of patterns": {"allOf": _PARTS},
    "products of objects": {"allOf": _KEYS},
    "pattern and lengths": {"type": "string", "pattern": "^(ab)*$", "minLength": 9999, "maxLength": 10_000},
    "patterns that never meet": {
        "allOf": [{"type": "string", "pattern": f"^(a{{{n}}})+$"} for n in (7, 11, 13, 17, 19)]
    },
    "repetitions of repetitions": {"type": "string", "pattern": "^(((a{1,50}){1,50}){1,50})$"},
    "a pattern with many states": {"type": "string", "pattern": "^[ab]*a[ab]{40}c$"},
    "letters": {"type": "string", "pattern": "^(\\p{L}{1,10000}x){20}$"},
    "format and length": {"type": "string", "format": "email", "minLength": 5000},
    "lists of lists": {"type": "array", "maxItems": 10_000, "items": {"type": "array", "maxItems": 9_999}},
    "ranges": {"type": "array", "prefixItems": [_remainder(7, minimum=i, maximum=10**15 + i) for i in range(500)]},
    "deep lists": _nested(60, "items"),
    "too deep lists": _nested(300, "items"),
    "deep choices": _nested(50, "anyOf"),
    **{f"doubled {keyword}": _doubled(22, keyword) for keyword in ("anyOf", "allOf", "oneOf")},
    "a reference to itself": {"$ref": "#"},
    "a circle": {"allOf": [{"$ref": "#"}, _TEXT]},
    "numbers out of range": {"type": "number", "minimum": 1e-300, "maximum": 1e300, "multipleOf": 1e-300},
    "separators of its own": {"x-guidance": {"item_separator": "(a?){1000}a{1000}"}, "type": "array"},
}
"""Whether one is refused or held, it must harm nobody."""
_ALL = [json.dumps(schema) for schema in (*COSTLY.values(), *AWKWARD.values())]


def schemas() -> st.SearchStrategy[str]:
    """JSON schemas as texts: those above, and remainders that no cache has seen."""
    fresh = st.integers(1, 10**10).map(_remainder) | st.floats(1e-9, 1e6).map(_remainder)
    pairs = st.lists(st.integers(2, 10**4).map(_remainder), min_size=2, max_size=4).map(
        lambda all_of: {"allOf": all_of}
    )
    return st.sampled_from(_ALL) | (fresh | pairs).map(json.dumps)
