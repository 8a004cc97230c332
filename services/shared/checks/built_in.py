"""The built-in checks: `python_examples`, `json_schema`, `regex` and `choice`.

`python_examples`: a program does what the examples say. The answer checker runs it in two processes. Its argument is a
test, or says how strong the prompt's examples must be together, or they prove nothing: `min=N`, N of them; `weight=N`,
where one that shows a text or a collection counts twice.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import validator_for
from referencing.jsonschema import EMPTY_REGISTRY

from services.shared.checks.api import Check, Compared, failed, needs_argument, passed
from tandem.method.answer import last_block
from tandem.method.evidence.checks import EXAMPLES
from tandem.method.evidence.examples import Example, argument_examples, find_examples, weight
from tandem.method.json_text import read_json_text

_LEAST = re.compile(r"\s*(min|weight)\s*=\s*([1-9][0-9]?)\s*")
_SHOWN_CHARACTERS = 200
_ANCHOR = re.compile(r"^(\^|\\A)|(?<!\\)(\\\\)*(\$|\\Z)\Z")
"""Of a pattern's beginning or end; not a dollar sign that is escaped."""


def least_of(argument: str) -> int:
    """Return what the examples of a pass have to count together, by `counts`."""
    found = _LEAST.fullmatch(argument)
    return int(found[2]) if found else 1


def counts(examples: Sequence[Example], argument: str) -> list[int]:
    """Return what each example counts; 0 where it cannot fail."""
    found = _LEAST.fullmatch(argument)
    most = 2 if found and found[1] == "weight" else 1
    return [min(weight(example), most) for example in examples]


def examples_of(question: str, argument: str) -> list[Example]:
    """Return the caller's examples, or without a test the prompt's. Raises ValueError for an argument that is no
    test.
    """
    is_prompts = not argument.strip() or _LEAST.fullmatch(argument)
    return find_examples(question) if is_prompts else argument_examples(argument)


def _validate_test(argument: str) -> None:
    argument_examples(argument)


def _has_examples(question: str, argument: str) -> bool:
    return sum(counts(examples_of(question, argument), argument)) >= least_of(argument)


PYTHON_EXAMPLES = Check(EXAMPLES, None, _validate_test, _has_examples, ("code",))


def finite(text: str) -> float:
    """Raises ValueError."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text:.{_SHOWN_CHARACTERS}} is no finite number")
    return number


def validate_schema(argument: str) -> None:
    """Raises ValueError. May take a second, and minutes where an old draft compares all values in pairs."""
    try:
        schema = read_json_text(argument)
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"no JSON schema: {error.message} at {error.json_path}") from None
    except (ValueError, RecursionError, AttributeError) as error:
        raise ValueError(f"no JSON schema: {error}") from None


def read_json(answer: str, parse_float: Callable[[str], Any] = finite) -> Any:
    """Return the answer's JSON value. Raises ValueError, also for what Python's parser takes and JSON does not have:
    NaN, infinite numbers.
    """
    try:
        return json.loads(last_block(answer), parse_float=parse_float, parse_constant=finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer is not JSON: {error}") from None


def _compare_json(question: str, answer: str, argument: str) -> Compared:
    try:
        value = read_json(answer)
    except ValueError as error:
        return failed(str(error))
    wrong = _worst_error(json.loads(argument), value)
    return failed(f"{wrong.message[:500]}, at {wrong.json_path}") if wrong else passed()


def _worst_error(schema: Any, value: Any) -> ValidationError | None:
    # A registry without retrieval: a reference to another host is refused, not fetched.
    validator = validator_for(schema)(schema, registry=EMPTY_REGISTRY)
    found: ValidationError | None = best_match(validator.iter_errors(value))
    return found


JSON_SCHEMA = Check("json_schema", _compare_json, validate_schema, needs_argument)


def _compile(argument: str) -> None:
    try:
        re.compile(argument)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from None


def _match(question: str, answer: str, argument: str) -> Compared:
    """The whole answer matches; a pattern with an anchor of its own is searched for."""
    pattern, answer = re.compile(argument), answer.strip()
    found = pattern.search(answer) if _ANCHOR.search(argument) else pattern.fullmatch(answer)
    return passed() if found else failed(f"{_shown(answer)} does not match {argument}")


def _options(argument: str) -> list[str]:
    return [line.strip() for line in argument.splitlines() if line.strip()]


def _has_options(argument: str) -> None:
    if not _options(argument):
        raise ValueError("no options; give one per line")


def _choose(question: str, answer: str, argument: str) -> Compared:
    """The answer is one of the options, whatever its case and spaces."""
    options = _options(argument)
    if normal(answer) in map(normal, options):
        return passed()
    return failed(f"{_shown(answer.strip())} is none of: {', '.join(options)}")


def normal(text: str) -> str:
    """Whatever its case and spaces."""
    return " ".join(text.split()).casefold()


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


REGEX = Check("regex", _match, _compile, needs_argument)
CHOICE = Check("choice", _choose, _has_options, needs_argument)

BUILT_IN = (PYTHON_EXAMPLES, JSON_SCHEMA, REGEX, CHOICE)
