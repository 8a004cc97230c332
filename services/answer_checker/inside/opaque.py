"""Values of the answer with which no comparison can be made. What a test does with one is refused, for no guess is a
verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, NoReturn


class NotComparable(BaseException):
    """A comparison cannot be made. No Exception, since a test that handles those would hide it; `seen` are all that
    were.
    """

    seen: ClassVar[list[str]] = []

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.seen.append(reason)


class Opaque:
    """A value that is no literal: its two texts, and that it equals no literal."""

    def __init__(self, text: str, printed: str) -> None:
        self.text, self._printed = text, printed

    def __repr__(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self._printed

    def __eq__(self, other: object) -> bool:
        """Return counts as seen: an example that fails by it fails, but none holds by it (`assert not f(1) == 2`)."""
        error = NotComparable(f"{self.text} is not a literal")
        if type(other).__module__ != "builtins":
            raise error
        return False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotComparable(f"{self.text} is not a literal")


class NotANumber(float):
    """nan. It has no order here: `assert not abs(f(2) - 1.41) > 0.01` would hold for it."""


def endless(drawn: list[Any]) -> Iterator[Any]:
    """Yield an iterator of which only the beginning has come."""
    yield from drawn
    raise NotComparable(f"more than {len(drawn)} items of an iterator are wanted")


def _refuse(self: object, *arguments: object, **keywords: object) -> NoReturn:
    raise NotComparable(f"{self!r} is not a literal" if isinstance(self, Opaque) else "nan has no order")


def _itself(self: object, *arguments: object) -> object:
    return self


def _give(kind: type, method: Callable[..., Any], names: Iterable[str]) -> None:
    for name in names:
        setattr(kind, f"__{name}__", method)


_ORDER = ("lt", "le", "gt", "ge")
_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow")
_ARITHMETIC = (*_BINARY, *(f"r{name}" for name in _BINARY), "neg", "pos", "abs")
_CONTAINER = ("len", "iter", "next", "contains", "getitem", "setitem", "delitem", "reversed", "hash")
_CONVERSIONS = ("bool", "int", "float", "complex", "index", "round", "trunc", "floor", "ceil")
_give(Opaque, _refuse, (*_ORDER, *_ARITHMETIC, *_CONTAINER, *_CONVERSIONS, "ne", "call", "enter", "exit"))
_give(NotANumber, _refuse, _ORDER)
_give(NotANumber, _itself, _ARITHMETIC)
