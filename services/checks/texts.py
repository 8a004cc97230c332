"""Checks of a final answer's text: `regex` and `choice`."""

from __future__ import annotations

import re

from services.checks.api import Check, Compared, failed, passed

_SHOWN_CHARACTERS = 200


def _needs_argument(question: str, argument: str) -> bool:
    return bool(argument.strip())


def _compile(argument: str) -> None:
    try:
        re.compile(argument)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from None


def _match(question: str, answer: str, argument: str) -> Compared:
    """The whole answer matches; a pattern with an anchor of its own is searched for."""
    pattern, answer = re.compile(argument), answer.strip()
    is_anchored = argument.startswith(("^", "\\A")) or argument.endswith(("$", "\\Z"))
    found = pattern.search(answer) if is_anchored else pattern.fullmatch(answer)
    return passed() if found else failed(f"{_shown(answer)} does not match {argument}")


def _options(argument: str) -> list[str]:
    return [line.strip() for line in argument.splitlines() if line.strip()]


def _has_options(argument: str) -> None:
    if not _options(argument):
        raise ValueError("no options; give one per line")


def _choose(question: str, answer: str, argument: str) -> Compared:
    """The answer is one of the options, whatever its case and spaces."""
    options = _options(argument)
    if _normal(answer) in map(_normal, options):
        return passed()
    return failed(f"{_shown(answer.strip())} is none of: {', '.join(options)}")


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


REGEX = Check("regex", _match, _compile, _needs_argument)
CHOICE = Check("choice", _choose, _has_options, _needs_argument)
