"""The check `python_agreement`: a program computes what another one computes, on inputs that no model wrote.

Its argument is the other program, of a second small model or a second sample. Its first line may say how much is
wanted:
`# inputs=60 share=1.0 least=10`. Without a program it is the one that the profile's other small model writes for the
same request. The answer checker runs each program in a process of its own.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass
from typing import Any

from services.shared.checks.api import Check
from services.shared.checks.inputs import given_inputs
from tandem.method.evidence.checks import PROGRAMS_AGREE
from tandem.method.evidence.examples import parses
from tandem.method.evidence.prompt_code import parse_prompt
from tandem.method.evidence.python_parser import NO_PYTHON, parse_program

_MAX_INPUTS = 1000
_TOLERANCE = 1e-9
_WANTED = re.compile(r"#((?:\s*\b(?:inputs|share|least)=[0-9.]+)+)\s*(?:\n|\Z)")
_UNORDERED = {"set", "frozenset", "keys"}
_OF_NOBODY = {"opaque", "endless"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """`inputs` are tried; of those on which neither program raises, at least `least`, the `share` must have equal
    results.
    """

    inputs: int = 60
    share: float = 1.0
    least: int = 10


def wanted_of(argument: str) -> tuple[Wanted, str]:
    """Return what is wanted, and the other program. Raises ValueError."""
    found = _WANTED.match(argument)
    if not found:
        return Wanted(), argument
    given = dict(word.split("=") for word in found[1].split())
    wanted = Wanted(int(given.get("inputs", 60)), float(given.get("share", 1.0)), int(given.get("least", 10)))
    if not (0 < wanted.share <= 1 and 0 < wanted.least <= wanted.inputs <= _MAX_INPUTS):
        raise ValueError(f"share is above 0 and at most 1, and 1 <= least <= inputs <= {_MAX_INPUTS}")
    return wanted, argument[found.end() :]


def defines(program: str, entry: str) -> bool:
    """Tell whether the function, or a method of that name, is in it."""
    try:
        tree = parse_program(program)
    except NO_PYTHON:
        return False
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == entry for node in ast.walk(tree)
    )


def agree(one: Any, other: Any) -> bool | None:
    """Tell whether two results, as the answers' processes send them, are equal; None where nobody can tell.

    Floats may differ in the last digits, and a set has no order. An int equals the float of its value, a list no tuple.
    """
    if not isinstance(one, list) or not isinstance(other, list):
        return one == other if type(one) is type(other) else False
    (tag, mine), (other_tag, theirs) = one, other
    if tag in _OF_NOBODY or other_tag in _OF_NOBODY:
        return None
    if {tag, other_tag} <= {"int", "float"} and "float" in (tag, other_tag):
        return _is_close(_number(tag, mine), _number(other_tag, theirs))
    if tag != other_tag or isinstance(mine, str) or isinstance(theirs, str):
        return tag == other_tag and bool(mine == theirs)
    if len(mine) != len(theirs):
        return False
    if tag in _UNORDERED:
        mine, theirs = sorted(mine, key=repr), sorted(theirs, key=repr)
    elif tag == "dict":
        mine, theirs = _by_key(mine), _by_key(theirs)
    found = [agree(a, b) for a, b in zip(mine, theirs, strict=True)]
    return False if False in found else None if None in found else True


def _by_key(parts: list[Any]) -> list[Any]:
    pairs = sorted(zip(parts[::2], parts[1::2], strict=True), key=lambda pair: repr(pair[0]))
    return [part for pair in pairs for part in pair]


def _number(tag: str, text: str) -> float:
    try:
        return float(int(text, 16)) if tag == "int" else float(text)
    except OverflowError:
        return math.inf


def _is_close(one: float, other: float) -> bool:
    return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)


def _validate(argument: str) -> None:
    _, program = wanted_of(argument)
    if not parses(program):
        raise ValueError("the other program is no Python")


def _applies(question: str, argument: str) -> bool:
    entry = parse_prompt(question).entry
    return bool(entry and given_inputs(question, entry))


PYTHON_AGREEMENT = Check(PROGRAMS_AGREE, None, _validate, _applies, ("code",))
