"""What a text says a value is, and whether a value is that."""

from __future__ import annotations

import ast
import math
import re
from typing import Any

from services.answer_checker.inside.opaque import NotComparable

_TOLERANCE = 1e-9
_EXACT_DECIMALS = 6
"""A text with so many decimals has rounded to them; one with fewer says the number itself."""
_NOTHING = object()
_FLAGS = re.compile(r"#\s*doctest:(.*)")


def same(value: Any, expected: Any) -> bool:
    """Equal, where floats may differ in the last digits: texts round."""
    if isinstance(expected, float) and isinstance(value, int | float):
        return value == expected or math.isclose(value, expected, rel_tol=_TOLERANCE, abs_tol=_rounding(expected))
    if isinstance(expected, list | tuple) and type(value) is type(expected) and len(value) == len(expected):
        return all(map(same, value, expected))
    if isinstance(expected, dict) and isinstance(value, dict) and value.keys() == expected.keys():
        return all(same(value[key], expected[key]) for key in expected)
    return bool(value == expected)


def _rounding(expected: float) -> float:
    """Return how far from it a number may be that is written like it."""
    if expected == 0:
        return _TOLERANCE
    decimals = len(re.sub("e.*", "", repr(expected)).partition(".")[2])
    return float(0.501 * 10**-decimals) if decimals >= _EXACT_DECIMALS and "e" not in repr(expected) else 0.0


def shows(value: Any, printed: str, expected: str, source: str) -> bool:
    """Tell whether a line `source` of a session shows what is expected: `value`, unless it is None, after what it has
    `printed`.

    Raises NotComparable where the text can be read in two ways.
    """
    literal = _literal(expected)
    if literal is _NOTHING:
        flags = " ".join(_FLAGS.findall(source))
        return _matches(printed + ("" if value is None else repr(value)), expected, flags)
    if value is not None or not printed:
        return same(value, literal)
    found = _literal(printed.strip())
    holds = printed.strip() == expected or (found is not _NOTHING and same(found, literal))
    if holds and "print" not in source:
        raise NotComparable(f"{source} prints what it may have to return")
    return holds


def _literal(text: str) -> Any:
    try:
        found = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return _NOTHING
    return _NOTHING if "Ellipsis" in repr(found) else found


def _matches(shown: str, expected: str, flags: str) -> bool:
    """Compare as doctest does. What only its flags make equal is undecided without them, as a text may mean it or
    not.
    """
    if _lines(shown) == _lines(expected):
        return True
    is_elided = "..." in expected
    if not _is_like(shown, expected):
        return False
    needed = {"ELLIPSIS": is_elided, "NORMALIZE_WHITESPACE": not is_elided}
    if missing := [flag for flag, is_needed in needed.items() if is_needed and f"+{flag}" not in flags]:
        raise NotComparable(f"{expected} may or may not stand for what is shown, without the flag {missing[0]}")
    return True


def _is_like(shown: str, expected: str) -> bool:
    shown, expected = " ".join(shown.split()), " ".join(expected.split())
    return re.fullmatch(".*".join(map(re.escape, expected.split("..."))), shown) is not None


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]
