"""What the keywords of a JSON schema cost to hold a text to, guessed from the schema alone: to refuse by the path of a
keyword what is sure to be too much, and to try the lightest first.

The guesses are fits to measurements of llguidance 1.7 on one core. What they miss, a try finds (`schema_findings`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from services.models.engine.api import InvalidSchema

# A larger number than this in a schema takes minutes to compile, and much memory.
_MAX_REPETITIONS = 10_000
_REPETITIONS = frozenset(
    f"{bound}{what}" for bound in ("min", "max") for what in ("Items", "Length", "Properties", "Contains")
)
# The automaton of `multipleOf` has a state for each remainder, and the library's own limits do not hold for it.
_MAX_REMAINDERS = 20_000
_MAX_ALL_REMAINDERS = 50_000
_REMAINDER_MILLISECONDS = 0.005
_MOST_TOGETHER = 10**9
# What may come next is found along all tokens of a vocabulary. For each optional property that may follow, one that
# ends a value and begins a name (`","`) takes 4 items, and all together 270: the most of Qwen2.5, cl100k, o200k,
# DeepSeek and Claude 2, with room for others.
MAX_STEP_ITEMS = 200_000
_ITEMS_OF_AN_OPTIONAL_PROPERTY = 400
MAX_OPTIONAL_PROPERTIES = MAX_STEP_ITEMS // _ITEMS_OF_AN_OPTIONAL_PROPERTY
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"enum", "const", "default", "examples"})
_PLAIN_NAME = re.compile(r"[$A-Za-z_][$A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Cost:
    """`milliseconds` of processor time, more or less; `path` is the JSON path of the keyword that costs most, "" where
    none does.
    """

    milliseconds: float
    path: str


def cost_of(schema: Any) -> Cost:
    """Raises InvalidSchema that names the keyword which is too costly."""
    total, most, path, remainders, together = 0.0, 0.0, "", 0, 1
    _check_optional(schema)
    for at, keyword, value in _keywords(schema, "$"):
        if keyword in _REPETITIONS and _is_number(value) and value > _MAX_REPETITIONS:
            raise InvalidSchema(f"the schema's {keyword} is {value}; the limit is {_MAX_REPETITIONS}: {at}")
        if keyword == "multipleOf":
            number = _num_remainders(value)
            remainders, together = remainders + number, min(together * max(1, number), _MOST_TOGETHER)
            if remainders > _MAX_ALL_REMAINDERS or number > _MAX_REMAINDERS:
                raise InvalidSchema(
                    f"the schema's multipleOf is too costly: {at}; the limit is {_MAX_REMAINDERS} remainders, "
                    f"and {_MAX_ALL_REMAINDERS} in one schema"
                )
        cost = _MILLISECONDS[keyword](value) if keyword in _MILLISECONDS else 0.0
        total += cost
        if cost > most:
            most, path = cost, at
    # Remainders that must all hold multiply; whether they must, the schema's references hide.
    return Cost(total + (_REMAINDER_MILLISECONDS * together if together > remainders else 0.0), path)


def _check_optional(root: Any) -> None:
    """Raises InvalidSchema with the path of a schema whose texts have too many optional properties."""
    known: dict[str, tuple[int, int]] = {}
    for at, schema in _schemas(root, "$"):
        if (optional := _optional(schema, root, known)[1]) > MAX_OPTIONAL_PROPERTIES:
            raise InvalidSchema(
                f"the schema has {optional} optional properties in one place: {at}; the limit is "
                f"{MAX_OPTIONAL_PROPERTIES}, besides those in `required`"
            )


def _optional(schema: Any, root: Any, known: dict[str, tuple[int, int]]) -> tuple[int, int]:
    """In how many ways a text may follow the schema, and how many optional properties they have together. Both at most:
    the library merges some. `known`: of references.
    """
    if not isinstance(schema, dict):
        return 1, 0
    names, required = schema.get("properties"), schema.get("required")
    always = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    ways, optional = 1, len(names.keys() - always) if isinstance(names, dict) else 0
    parts = [_optional(each, root, known) for each in _list(schema.get("allOf"))]
    for keyword in ("anyOf", "oneOf"):
        if choices := [_optional(each, root, known) for each in _list(schema.get(keyword))]:
            parts.append((sum(choice[0] for choice in choices), sum(choice[1] for choice in choices)))
    if isinstance(reference := schema.get("$ref"), str):
        if reference not in known:
            known[reference] = 1, 0  # of one that refers to itself
            known[reference] = _optional(_referred(root, reference), root, known)
        parts.append(known[reference])
    for more_ways, more in parts:
        ways, optional = min(ways * more_ways, _MOST_TOGETHER), min(optional * more_ways + more * ways, _MOST_TOGETHER)
    return ways, optional


def _referred(root: Any, reference: str) -> Any:
    """None where it leads nowhere."""
    found = root
    for step in reference[2:].split("/") if reference != "#" else []:
        try:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found[int(step)] if isinstance(found, list) else found[name]
        except (LookupError, ValueError, TypeError):
            return None
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _keywords(root: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """(path, keyword, value) of all schemas in it."""
    for at, schema in _schemas(root, path):
        yield from ((at + _step(keyword), keyword, value) for keyword, value in schema.items())


def _schemas(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, schema) of all in it. Values that are data have none, and what names properties is none."""
    if isinstance(schema, list):
        for number, element in enumerate(schema):
            yield from _schemas(element, f"{path}[{number}]")
    if not isinstance(schema, dict):
        return
    yield path, schema
    for keyword, value in schema.items():
        at = path + _step(keyword)
        if keyword in _NAMED and isinstance(value, dict):
            for name, inner in value.items():
                yield from _schemas(inner, at + _step(name))
        elif keyword not in _DATA:
            yield from _schemas(value, at)


def _step(name: str) -> str:
    return f".{name}" if _PLAIN_NAME.fullmatch(name) else f"[{json.dumps(name)}]"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _num_remainders(value: Any) -> int:
    """The digits without zeros around them: a text is a multiple of 0.01 or 1000 by where its digits stand."""
    if not _is_number(value):
        return 0
    digits = "".join(map(str, Decimal(str(value)).as_tuple().digits)).strip("0")
    return int(digits or 0)


def _of_number(each: float) -> Callable[[Any], float]:
    return lambda value: each * max(0, min(value, _MAX_REPETITIONS)) if _is_number(value) else 0.0


def _of_square(each: float) -> Callable[[Any], float]:
    return lambda value: each * len(value) ** 2 if isinstance(value, dict) else 0.0


def _of_text(each: float) -> Callable[[Any], float]:
    return lambda value: each * len(value if isinstance(value, str) else json.dumps(value))


_MILLISECONDS: dict[str, Callable[[Any], float]] = {
    "multipleOf": lambda value: _REMAINDER_MILLISECONDS * _num_remainders(value),
    **dict.fromkeys(_REPETITIONS, _of_number(0.006)),
    "properties": _of_square(7e-5),
    "patternProperties": _of_square(0.013),
    "pattern": _of_text(0.01),
    "enum": _of_text(0.002),
    "const": _of_text(0.002),
}
