"""Values that are wrong whatever is asked: an example that holds for all of them proves nothing."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from tandem.method.evidence.examples import Example

_MAX_LITERALS = 30
_USUAL: tuple[Any, ...] = (None, 0, "", [], True, -1, "0", [0], (0, 0), {}, 0.5)


class Anything:
    """It takes part in every expression, is true, and compares with nothing: it is equal to itself, and else neither
    equal nor unequal.
    """

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter((self,))

    def __next__(self) -> Any:
        return self

    def __len__(self) -> int:
        return 1

    def __int__(self) -> int:
        return 7_305_219

    def __float__(self) -> float:
        return 7_305_219.25

    def __repr__(self) -> str:
        return "<anything>"


def _itself(self: Anything, *arguments: object, **keywords: object) -> Anything:
    return self


def _false(self: Anything, *arguments: object) -> bool:
    return False


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "and", "or", "xor", "lshift", "rshift")
_OTHERS = (
    "neg",
    "pos",
    "abs",
    "invert",
    "round",
    "trunc",
    "floor",
    "ceil",
    "getitem",
    "setitem",
    "call",
    "enter",
    "reversed",
)
for _name in (*_BINARY, *(f"r{name}" for name in _BINARY), *_OTHERS):
    setattr(Anything, f"__{_name}__", _itself)
for _name in ("lt", "le", "gt", "ge", "contains", "exit"):
    setattr(Anything, f"__{_name}__", _false)
ANYTHING = Anything()


def wrong_values(examples: Iterable[Example]) -> Iterator[Callable[[], Any]]:
    """Yield what programs may return that compute nothing, the most telling first: last the values that the examples
    name.
    """
    yield lambda: ANYTHING
    for value in chain(_USUAL, _literals(examples)):
        yield lambda value=value: copy.deepcopy(value)  # type: ignore[misc]


def _literals(examples: Iterable[Example]) -> Iterator[Any]:
    """Yield each once, and at most _MAX_LITERALS."""
    seen = set[str]()
    for example in examples:
        for node in (*_expressions(example.source), *_expressions(example.expected)):
            with suppress(ValueError, TypeError, MemoryError, RecursionError):
                value = ast.literal_eval(node)
                if repr(value) not in seen and len(seen) < _MAX_LITERALS:
                    seen.add(repr(value))
                    yield value


def _expressions(text: str) -> list[ast.expr]:
    try:
        return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.expr)]
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return []
