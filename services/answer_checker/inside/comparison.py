"""Judge one example: does it hold, and if not, why, in words for the model that has to correct itself."""

from __future__ import annotations

import ast
import contextlib
import io
import math
import re
import traceback
from dataclasses import dataclass
from typing import Any

from services.answer_checker.inside.remote import Failed, is_of_answer
from services.answer_checker.inside.values import NotComparable, Opaque
from tandem.method.examples import Example, Form

_SHOWN_CHARACTERS = 200
_TOLERANCE = 1e-6
_TRACEBACK = "Traceback (most recent call last):", "Traceback (innermost last):"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`holds` is None where there was nothing to compare."""

    holds: bool | None
    detail: str = ""


class _Wrong(Exception):
    """The example does not hold; the message says why."""


class Comparison:
    """Examples are judged one after the other, with one namespace: a later one sees the names of an earlier one."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def judge(self, example: Example) -> Outcome:
        judges = {Form.CALL: self._call, Form.SESSION: self._session, Form.STATEMENT: self._statement}
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                return judges[example.form](example, printed)
        except _Wrong as error:
            return Outcome(False, str(error))
        except NotComparable as error:
            return Outcome(None, str(error))
        except Exception as error:  # values that cannot even be compared
            return Outcome(False, f"{example.source} {_raised(error)}")

    def _call(self, example: Example, printed: io.StringIO) -> Outcome:
        value, expected = self._value(example.source), ast.literal_eval(example.expected)
        if not _same(value, expected):
            raise _Wrong(f"{example.source} is {_shown(value)}, not {example.expected}")
        return Outcome(True)

    def _session(self, example: Example, printed: io.StringIO) -> Outcome:
        """A line of an interactive session, with what it shows."""
        expected = example.expected.strip()
        if expected.startswith(_TRACEBACK):
            return self._raises(example, expected)
        value = self._value(example.source)
        if not expected:
            return self._silent(example, value)
        shown = printed.getvalue() + ("" if value is None else _shown(value, whole=True))
        if not (_matches(shown, expected) or (value is not None and _same_as_text(value, expected))):
            raise _Wrong(f"{example.source} shows {_cut(shown) or 'nothing'}, not {_cut(expected)}")
        return Outcome(True)

    def _silent(self, example: Example, value: Any) -> Outcome:
        """Texts leave out what a comparison shows where it is True. Anything else without a value prepares what follows."""
        if not isinstance(value, bool):
            return Outcome(None)
        return Outcome(True) if value else Outcome(False, f"`{example.source}` does not hold")

    def _raises(self, example: Example, expected: str) -> Outcome:
        wanted = expected.splitlines()[-1].strip()
        kind = wanted.partition(":")[0].rpartition(".")[2]
        try:
            value = self._run(example.source)
        except NotComparable:
            raise
        except Exception as error:
            if type(error).__name__ == kind:
                return Outcome(True)
            raise _Wrong(f"{example.source} {_raised(error)}, not {kind}") from None
        raise _Wrong(f"{example.source} is {_shown(value)}, but must raise {kind}")

    def _statement(self, example: Example, printed: io.StringIO) -> Outcome:
        """An assertion, or any other statement of a test; one that only defines something compares nothing."""
        [node] = ast.parse(example.source).body
        if not isinstance(node, ast.Assert):
            self._value(example.source)
            prepares = isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Assign)
            return Outcome(None if prepares else True)
        match node.test:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
                value, expected = self._value(ast.unparse(left)), self._value(ast.unparse(right))
                if not value == expected:
                    raise _Wrong(f"{ast.unparse(left)} is {_shown(value)}, not {_shown(expected)}")
            case test:
                if not self._value(ast.unparse(test)):
                    raise _Wrong(f"`{ast.unparse(test)}` does not hold")
        return Outcome(True)

    def _value(self, source: str) -> Any:
        """Its value; None for a statement. Raises _Wrong where it raises."""
        try:
            return self._run(source)
        except NotComparable:
            raise
        except Exception as error:
            raise _Wrong(f"{source.splitlines()[0]} {_raised(error)}") from None

    def _run(self, source: str) -> Any:
        """Its value; None for a statement. Raises NotComparable for a name that nobody defines, and what the source raises."""
        try:
            code = compile(source, "example", "eval")
        except SyntaxError:
            code = compile(source, "example", "exec")
        try:
            return eval(code, self._names)  # nosec B307  # runs in the sandbox
        except NameError as error:
            if is_of_answer(error):
                raise
            raise NotComparable(str(error)) from None


def _raised(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, Failed)
        else f"raised {_cut(traceback.format_exception_only(error)[-1].strip())}"
    )


def _same(value: Any, expected: Any) -> bool:
    """Equal, where floats may differ in the last digits: texts round."""
    if isinstance(expected, float) and isinstance(value, int | float):
        return value == expected or math.isclose(value, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if isinstance(expected, list | tuple) and type(value) is type(expected) and len(value) == len(expected):
        return all(map(_same, value, expected))
    return bool(value == expected)


def _same_as_text(value: Any, expected: str) -> bool:
    try:
        return _same(value, ast.literal_eval(expected))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _matches(shown: str, expected: str) -> bool:
    """As doctest compares with NORMALIZE_WHITESPACE and ELLIPSIS."""
    shown, expected = " ".join(shown.split()), " ".join(expected.split())
    pattern = ".*".join(map(re.escape, expected.split("..."))) if "..." in expected else ""
    return shown == expected or (bool(pattern) and re.fullmatch(pattern, shown) is not None)


def _shown(value: Any, *, whole: bool = False) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python converts
        return f"a value of type {type(value).__name__}"
    return text if whole or isinstance(value, Opaque) else _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
