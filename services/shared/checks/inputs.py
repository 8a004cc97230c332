"""Inputs for a program that no model wrote: the literal arguments of the examples, and these mutated by type."""

from __future__ import annotations

import ast
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.method.evidence.examples import find_examples
from tandem.method.evidence.python_parser import parse_program
from tandem.method.evidence.whole_program import OUTPUT_OF

_MAX_ITEMS = 200
_MAX_NUMBER = 10**6
_TRIES = 20
"""Mutations that are drawn for each input that is wanted: many come to one that is there already."""


@dataclass(frozen=True, slots=True)
class Input:
    """Literal arguments of one call. `is_given`: an example has it."""

    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...] = ()
    is_given: bool = True


def given_inputs(question: str, entry: str) -> list[Input]:
    """Return the inputs of the calls of `entry` with literals in the prompt's examples, each once. None of a whole
    program: of its text nobody knows the form.
    """
    if entry == OUTPUT_OF:
        return []
    found: dict[str, Input] = {}
    for example in find_examples(question):
        for node in ast.walk(parse_program(example.source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == entry:
                try:
                    arguments = tuple(ast.literal_eval(argument) for argument in node.args)
                    keywords = tuple((k.arg, ast.literal_eval(k.value)) for k in node.keywords if k.arg)
                except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    continue
                found.setdefault(repr((arguments, keywords)), Input(arguments, keywords))
    return list(found.values())


def mutated_inputs(given: Sequence[Input], wanted: int) -> list[Input]:
    """Return the given ones, then mutations of them up to `wanted` in all. The same inputs give the same mutations."""
    found = {repr((each.arguments, each.keywords)): each for each in given}
    generator = random.Random(zlib.crc32(repr(list(found)).encode()))  # nosec B311  # not a secret
    for _ in range(_TRIES * wanted if given else 0):
        if len(found) >= wanted:
            break
        new = _mutated(generator.choice(list(given)), generator)
        found.setdefault(repr((new.arguments, new.keywords)), new)
    return list(found.values())[:wanted]


def _mutated(each: Input, generator: random.Random) -> Input:
    """Return the input with one argument changed, or with a little chance another."""
    values = [*each.arguments, *(value for _, value in each.keywords)]
    if not values:
        return each
    changed = {generator.randrange(len(values))} | {i for i in range(len(values)) if generator.random() < 0.2}
    values = [mutate(value, generator) if i in changed else value for i, value in enumerate(values)]
    count = len(each.arguments)
    names = [name for name, _ in each.keywords]
    return Input(tuple(values[:count]), tuple(zip(names, values[count:], strict=True)), is_given=False)


def mutate(value: Any, generator: random.Random) -> Any:
    """Another value of the same type; None and what has no mutation stay."""
    if isinstance(value, bool):
        return not value
    mutation = next((mutation for kind, mutation in _MUTATIONS.items() if isinstance(value, kind)), None)
    return mutation(value, generator) if mutation else value


def _int(value: int, generator: random.Random) -> int:
    options = [value + 1, value - 1, value + generator.randint(-10, 10), value * 2, value // 2, 0, 1]
    new = generator.choice(options)
    # A number that the examples have only as a natural one may have to be one; then both programs may do as they like.
    return min(max(new, 0 if value >= 0 else -_MAX_NUMBER), max(_MAX_NUMBER, value))


def _float(value: float, generator: random.Random) -> float:
    return generator.choice(
        [value + 1.0, value - 0.5, value * 2, value / 2, round(value, 1), -value if value < 0 else 0.0]
    )


def _text(value: str, generator: random.Random) -> str:
    """Make a text of its own characters, for what an alphabet, digits or brackets mean to a task nobody knows."""
    return "".join(_sequence(list(value), generator, lambda character: generator.choice(value) if value else character))


def _list(value: list[Any], generator: random.Random) -> list[Any]:
    return _sequence(value, generator, lambda item: mutate(item, generator))


def _sequence(items: list[Any], generator: random.Random, one: Callable[[Any], Any]) -> list[Any]:
    items = items[:_MAX_ITEMS]
    index = generator.randrange(len(items)) if items else 0
    options: list[Callable[[], list[Any]]] = [
        lambda: items[: len(items) // 2],
        lambda: items[len(items) // 2 :],
        lambda: (items + items)[:_MAX_ITEMS],
        lambda: generator.sample(items, len(items)),
        lambda: items[::-1],
        lambda: items[:index] + items[index + 1 :],
        lambda: [one(item) if i == index else item for i, item in enumerate(items)],
        lambda: items[:index] + items[index : index + 1] + items[index:],
    ]
    return generator.choice(options)()


def _tuple(value: tuple[Any, ...], generator: random.Random) -> tuple[Any, ...]:
    """Make a tuple as long as it was: a tuple's places have meanings."""
    index = generator.randrange(len(value)) if value else 0
    return tuple(mutate(item, generator) if i == index else item for i, item in enumerate(value))


def _set(value: set[Any], generator: random.Random) -> set[Any]:
    return set(_list(sorted(value, key=repr), generator))


def _dict(value: dict[Any, Any], generator: random.Random) -> dict[Any, Any]:
    if not value:
        return value
    key = generator.choice(list(value))
    if generator.random() < 0.5:
        return {k: v for k, v in value.items() if k != key}
    return {k: mutate(v, generator) if k == key else v for k, v in value.items()}


_MUTATIONS: dict[type, Callable[[Any, random.Random], Any]] = {
    int: _int, float: _float, str: _text, list: _list, tuple: _tuple, set: _set, dict: _dict,
}  # fmt: skip
