"""The check `python_examples`: a program does what the examples say. The answer checker runs it in two processes."""

from __future__ import annotations

from services.checks.api import Check
from tandem.method.examples import Example, argument_examples, compares, find_examples

NAME = "python_examples"


def examples_of(question: str, argument: str) -> list[Example]:
    """The caller's examples, or without an argument the prompt's. Raises ValueError for an argument that is no test."""
    return argument_examples(argument) if argument.strip() else find_examples(question)


def _validate(argument: str) -> None:
    argument_examples(argument)


def _applies(question: str, argument: str) -> bool:
    return any(map(compares, examples_of(question, argument)))


PYTHON_EXAMPLES = Check(NAME, None, _validate, _applies, ("code",))
