"""The check `python_examples`: a program does what the examples say. The answer checker runs it in two processes.

Its argument is a test, or says how strong the prompt's examples must be together, or they prove nothing: `min=N`, N of them;
`weight=N`, where one that shows a text or a collection counts twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.checks.api import Check
from tandem.method.examples import Example, argument_examples, find_examples, weight

NAME = "python_examples"
_LEAST = re.compile(r"\s*(min|weight)\s*=\s*([1-9][0-9]?)\s*")


def least_of(argument: str) -> int:
    """What the examples of a pass have to count together, by `counts`."""
    found = _LEAST.fullmatch(argument)
    return int(found[2]) if found else 1


def counts(examples: Sequence[Example], argument: str) -> list[int]:
    """What each example counts; 0 where it cannot fail."""
    found = _LEAST.fullmatch(argument)
    most = 2 if found and found[1] == "weight" else 1
    return [min(weight(example), most) for example in examples]


def examples_of(question: str, argument: str) -> list[Example]:
    """The caller's examples, or without a test the prompt's. Raises ValueError for an argument that is no test."""
    is_prompts = not argument.strip() or _LEAST.fullmatch(argument)
    return find_examples(question) if is_prompts else argument_examples(argument)


def _validate(argument: str) -> None:
    argument_examples(argument)


def _applies(question: str, argument: str) -> bool:
    return sum(counts(examples_of(question, argument), argument)) >= least_of(argument)


PYTHON_EXAMPLES = Check(NAME, None, _validate, _applies, ("code",))
