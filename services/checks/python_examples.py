"""The check `python_examples`: a program does what the examples say. The answer checker runs it in two processes.

Its argument is a test, or `min=N`: the prompt's examples, which prove nothing where there are fewer than N.
"""

from __future__ import annotations

import re

from services.checks.api import Check
from tandem.method.examples import Example, argument_examples, compares, find_examples

NAME = "python_examples"
_LEAST = re.compile(r"\s*min\s*=\s*([1-9][0-9]?)\s*")


def least_of(argument: str) -> int:
    """How many comparisons a pass needs."""
    found = _LEAST.fullmatch(argument)
    return int(found[1]) if found else 1


def examples_of(question: str, argument: str) -> list[Example]:
    """The caller's examples, or without a test the prompt's. Raises ValueError for an argument that is no test."""
    is_prompts = not argument.strip() or _LEAST.fullmatch(argument)
    return find_examples(question) if is_prompts else argument_examples(argument)


def _validate(argument: str) -> None:
    argument_examples(argument)


def _applies(question: str, argument: str) -> bool:
    return sum(map(compares, examples_of(question, argument))) >= least_of(argument)


PYTHON_EXAMPLES = Check(NAME, None, _validate, _applies, ("code",))
