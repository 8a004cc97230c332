"""The examples' process: it holds what is expected, calls the answer's functions in the other process, and finds which
examples say something of the answer: those that fail for wrong programs, and are not its own measure.

For that the test runs again with other functions in place of the answer's, after its verdict: an answer that fails
costs nothing here.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from services.answer_checker.inside.anything import ANYTHING, wrong_values
from services.answer_checker.inside.comparison import Comparison, ExampleResult, OutOfTime, Said
from services.answer_checker.inside.namespace import Test
from services.answer_checker.inside.remote import Calls, DoesNotLoad, Remote
from services.answer_checker.sandbox.messages import Channel
from tandem.method.evidence.examples import Example

_SECONDS = 0.5
"""For all programs that compute nothing: with them a test may run for ever."""
Functions = Mapping[str, Callable[..., Any]]


def main(talk: Channel, peer: Channel) -> None:
    """Take the job from `talk`, and report to it, example by example: what begins, and how it ended.

    Where none is wrong or undecided, `judged` says so, and `proofs` which of them prove something.
    """
    job = talk.receive()
    examples = tuple(Example(**example) for example in job.pop("examples"))
    test, remote = Test(**job, examples=examples), Remote(peer)
    try:
        remote.wait_until_loaded()
    except DoesNotLoad as error:
        talk.send({"failed": str(error), "missing": error.missing})
        return
    functions = {name: remote.function(name) for name in test.tested(remote)}
    remote.calls.tested = frozenset(functions)
    comparison, held, is_sure = Comparison(test.namespace(functions), remote.calls), list[int](), True
    for index, example in enumerate(examples):
        talk.send({"begins": example.source})
        outcome = comparison.judge(example)
        talk.send({"said": outcome.said, "detail": outcome.detail})
        held += [index] if outcome.said is Said.HOLDS else []
        is_sure &= outcome.said in (Said.HOLDS, Said.NOTHING)
    if is_sure:
        has_changed = remote.calls.has_changed
        talk.send({"judged": True})
        is_own = has_changed and is_own_measure(test, functions, remote.calls, held)
        talk.send({"own_measure": is_own, "proofs": [] if is_own else sorted(can_fail(test, functions, held))})


def outcomes(test: Test, functions: Functions, calls: Calls) -> Iterator[ExampleResult]:
    comparison = Comparison(test.namespace(functions), calls)
    for example in test.examples:
        yield comparison.judge(example)


def can_fail(test: Test, names: Collection[str], held: Collection[int]) -> set[int]:
    """Return, of the examples that held, the index of those that do not hold for every program that returns a value."""
    unproven = set(held)
    with suppress(OutOfTime), _clock(_SECONDS):
        for make in wrong_values(test.examples):
            functions = dict.fromkeys(names, lambda *_, make=make, **__: make())
            for index, outcome in enumerate(outcomes(test, functions, _of_no_answer(names))):
                if outcome.said is Said.WRONG and outcome.is_compared:
                    unproven.discard(index)
            if not unproven:
                break
    return set(held) - unproven


def is_own_measure(test: Test, functions: Functions, calls: Calls, held: Collection[int]) -> bool:
    """Tell whether an example holds only because the answer changed what the expected value is computed from.

    It is compared with unchanged arguments. If that does not hold, it must ask for the change alone: it holds whatever
    is returned, and not for any change.
    """
    unchanged = _held(test, {name: _with_copies(function) for name, function in functions.items()}, calls)
    if not (rest := set(held) - unchanged):
        return False
    by_change = _held(test, {name: _without_value(function) for name, function in functions.items()}, calls)
    by_any_change = _held(test, dict.fromkeys(functions, _spoil), _of_no_answer(functions))
    return not rest <= by_change - by_any_change


def _held(test: Test, functions: Functions, calls: Calls) -> set[int]:
    return {i for i, outcome in enumerate(outcomes(test, functions, calls)) if outcome.said is Said.HOLDS}


def _with_copies(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        return function(*map(_copied, arguments), **{name: _copied(value) for name, value in keywords.items()})

    return call


def _without_value(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        return None if function(*arguments, **keywords) is None else ANYTHING

    return call


def _spoil(*arguments: Any, **keywords: Any) -> Any:
    for value in (*arguments, *keywords.values()):
        if isinstance(value, list):
            value[:] = [ANYTHING]
        elif isinstance(value, set):
            value.clear()
            value.add(ANYTHING)
        elif isinstance(value, dict):
            value.clear()
            value[ANYTHING] = ANYTHING
    return ANYTHING


def _copied(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, list | dict | set) else value


def _of_no_answer(names: Collection[str]) -> Calls:
    return Calls(tested=frozenset(names), has_called=True)


@contextmanager
def _clock(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in the block when the time is over."""

    def ring(*_: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
