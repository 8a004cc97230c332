"""Judge one example: does it hold, and if not, why, in words for the model that has to correct itself."""

from __future__ import annotations

import ast
import contextlib
import dis
import io
import traceback
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.answer_checker.inside.literals import same, shows
from services.answer_checker.inside.loops import FILE, Loops, compiled
from services.answer_checker.inside.namespace import names_bound, names_read
from services.answer_checker.inside.opaque import NotComparable, Opaque
from services.answer_checker.inside.remote import Calls, Failed, is_of_answer
from tandem.method.evidence.examples import Example, Form, weight

_SHOWN_CHARACTERS = 200
_TRACEBACK = "Traceback (most recent call last):", "Traceback (innermost last):"


class Said(StrEnum):
    """`NOTHING`: the example prepares what follows. `UNKNOWN`: its comparison cannot be made."""

    HOLDS = "holds"
    WRONG = "wrong"
    NOTHING = "nothing"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """`is_compared`: a comparison says so, not an error on the way to one."""

    said: Said
    detail: str = ""
    is_compared: bool = True


_HOLDS, _PREPARES = ExampleResult(Said.HOLDS), ExampleResult(Said.NOTHING)


class OutOfTime(BaseException):
    """Raised by a clock while an example runs, which may not handle it."""


class _Wrong(Exception):
    """The example does not hold; the message says why."""

    def __init__(self, detail: str, *, is_compared: bool = True) -> None:
        super().__init__(detail)
        self.is_compared = is_compared


class Comparison:
    """Examples are judged one after the other, with one namespace: a later one sees the names of an earlier one.

    `calls` says what has been asked of the answer.
    """

    def __init__(self, names: dict[str, Any], calls: Calls) -> None:
        self._names, self._calls, self._loops = names, calls, Loops()
        names.update(self._loops.names())
        self._bound, self._undecided = set[str](), set[str]()

    def judge(self, example: Example) -> ExampleResult:
        """Raises OutOfTime."""
        NotComparable.seen.clear()
        self._loops.clear()
        self._calls.failure = ""
        try:
            outcome = self._judged(example)
        except _Wrong as error:
            outcome = ExampleResult(Said.WRONG, str(error), error.is_compared)
        except OutOfTime:
            raise
        except NotComparable as error:
            outcome = ExampleResult(Said.UNKNOWN, str(error))
        except BaseException as error:  # values that cannot even be compared
            outcome = ExampleResult(Said.WRONG, f"{example.source} {_raised(error)}", is_compared=False)
        used = names_read(example.source)
        self._bound |= names_bound(example.source)
        outcome = self._believed(outcome, example, used)
        if outcome.said is Said.UNKNOWN:
            self._undecided |= (used | names_bound(example.source)) & self._bound
        return outcome

    def _believed(self, outcome: ExampleResult, example: Example, used: frozenset[str]) -> ExampleResult:
        """Return what is certain: nothing holds where something was refused, and nothing is wrong that the answer has
        no part in.
        """
        if outcome.said is Said.WRONG:
            if not self._calls.has_called:
                return ExampleResult(Said.UNKNOWN, f"{outcome.detail}, and the answer was not asked")
            if self._undecided & used:
                return ExampleResult(Said.UNKNOWN, f"{outcome.detail}, after what could not be compared")
        elif self._calls.failure:
            return ExampleResult(Said.WRONG, f"{example.source} {self._calls.failure}", is_compared=False)
        elif NotComparable.seen:
            return ExampleResult(Said.UNKNOWN, NotComparable.seen[0])
        return _PREPARES if self._loops.are_empty else outcome

    def _judged(self, example: Example) -> ExampleResult:
        judges = {Form.CALL: self._call, Form.SESSION: self._session, Form.STATEMENT: self._statement}
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            return judges[example.form](example, printed)

    def _call(self, example: Example, printed: io.StringIO) -> ExampleResult:
        value, expected = self._value(example.source), ast.literal_eval(example.expected)
        if not same(value, expected):
            raise _Wrong(f"{example.source} is {_shown(value)}, not {example.expected}")
        return _HOLDS

    def _session(self, example: Example, printed: io.StringIO) -> ExampleResult:
        """Return a line of an interactive session, with what it shows."""
        expected = example.expected
        if expected.startswith(_TRACEBACK):
            return self._raises(example, expected)
        value = self._value(example.source)
        if not expected:
            return self._silent(example, value)
        if not shows(value, printed.getvalue(), expected, example.source):
            shown = printed.getvalue() + ("" if value is None else _shown(value))
            raise _Wrong(f"{example.source} shows {_cut(shown) or 'nothing'}, not {_cut(expected)}")
        return _HOLDS

    def _silent(self, example: Example, value: Any) -> ExampleResult:
        """Texts leave out what a comparison shows where it is True. Anything else without a value prepares what
        follows.
        """
        if not isinstance(value, bool) or self._is_call(example.source):
            return _PREPARES
        if not value:
            raise _Wrong(f"`{example.source}` does not hold")
        return _HOLDS

    def _is_call(self, source: str) -> bool:
        """Tell whether it is a call of a tested function, whose value a text may leave out."""
        match ast.parse(source).body:
            case [ast.Expr(value=ast.Call(func=ast.Name(id=name)))]:
                return name in self._calls.tested
        return False

    def _raises(self, example: Example, expected: str) -> ExampleResult:
        wanted = expected.splitlines()[-1].strip()
        kind = wanted.partition(":")[0].rpartition(".")[2]
        try:
            value = self._run(example.source)
        except (NotComparable, Failed, OutOfTime):
            raise
        except BaseException as error:
            if type(error).__name__ == kind:
                return _HOLDS
            raise _Wrong(f"{example.source} {_raised(error)}, not {kind}", is_compared=False) from None
        raise _Wrong(f"{example.source} is {_shown(value)}, but must raise {kind}")

    def _statement(self, example: Example, printed: io.StringIO) -> ExampleResult:
        """Return an assertion, or any other statement of a test. One that ends without an error holds if it can fail
        (`evidence`).
        """
        [node] = ast.parse(example.source).body
        match node:
            case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
                value, expected = self._value(ast.unparse(left)), self._value(ast.unparse(right))
                if not value == expected:
                    raise _Wrong(f"{ast.unparse(left)} is {_shown(value)}, not {_shown(expected)}")
            case ast.Assert(test=test):
                if not self._value(ast.unparse(test)):
                    raise _Wrong(f"`{ast.unparse(test)}` does not hold")
            case _:
                self._value(example.source)
        return _HOLDS if weight(example) else _PREPARES

    def _value(self, source: str) -> Any:
        """Return the value of an expression; None for a statement. Raises _Wrong where it raises."""
        try:
            return self._run(source)
        except (NotComparable, OutOfTime):
            raise
        except BaseException as error:
            detail = f"{source.splitlines()[0]} {_raised(error)}"
            raise _Wrong(detail, is_compared=_is_on_purpose(error)) from None

    def _run(self, source: str) -> Any:
        """Run, and return the value; None for a statement. Raises NotComparable for a name that nobody defines, and
        what the source raises.
        """
        try:
            return eval(compiled(source), self._names)  # nosec B307  # runs in the sandbox
        except NameError as error:
            if is_of_answer(error):
                raise
            raise NotComparable(str(error)) from None
        except ImportError as error:
            if is_of_answer(error):
                raise
            if not names_bound(source) <= self._names.keys():  # else it imports what the answer is asked for
                raise NotComparable(str(error)) from None


def _is_on_purpose(error: BaseException) -> bool:
    """Tell whether an assertion or a `raise` of the example says that something does not hold."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code.co_filename != FILE:
        return isinstance(error, AssertionError) and not is_of_answer(error)
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _raised(error: BaseException) -> str:
    return (
        str(error)
        if isinstance(error, Failed)
        else f"raised {_cut(traceback.format_exception_only(error)[-1].strip())}"
    )


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # an int of more digits than Python converts
        return f"a value of type {type(value).__name__}"
    return text if isinstance(value, Opaque) else _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
