"""What callers and models write is read by many threads at once."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tandem.method.evidence.python_parser import NO_PYTHON, parse_expression, parse_literal, parse_program

_PROGRAM = "def f(a):\n" + "\n".join(f"    x{i} = [{i}, (a + {i}) * 3, {{'k': {i}}}]" for i in range(200))
_SECONDS = 3.0


@pytest.fixture
def switched_threads() -> Iterator[None]:
    """Garbage is collected again and again, and each time another thread has its turn."""

    def give_way(*_: object) -> None:
        time.sleep(0)

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    gc.callbacks.append(give_way)
    yield
    gc.callbacks.remove(give_way)
    gc.set_threshold(*threshold)


@pytest.mark.usefixtures("switched_threads")
def test_six_threads_parse_at_once() -> None:
    """On Python 3.11 `ast.parse` without the lock ends in SystemError here."""
    end = time.monotonic() + _SECONDS

    def parse_again_and_again(_: int) -> None:
        while time.monotonic() < end:
            parse_program(_PROGRAM)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(parse_again_and_again, range(6)))


@pytest.mark.parametrize("read", [parse_program, parse_expression, parse_literal])
@pytest.mark.parametrize("source", ["f(", "\0", 300 * "(" + 300 * ")", 100_000 * "-" + "1"])
def test_what_is_no_python_is_one_of_few_errors(read: Callable[[str], object], source: str) -> None:
    with pytest.raises(NO_PYTHON):
        read(source)


def test_a_set_of_lists_is_no_literal() -> None:
    with pytest.raises(TypeError):
        parse_literal("{[]}")
