"""Whether two final answers are the same: mathematics by math-verify, choices, dates and words as text."""

from __future__ import annotations

import re
from datetime import datetime

from dateutil import parser as dates

from tandem.method.evidence.same_answer import WORDING, is_same_unit, plain, quantity
from tandem.method.evidence.same_answer import choice as choice_of

_COMMAND = re.compile(r"\\[A-Za-z]+")
_NUMBER_FIRST = re.compile(r"[\s$€£\\({\[+-]*\d")
_WORD = re.compile(r"[^\W\d_]{2,}")
_FUNCTIONS = frozenset({"sin", "cos", "tan", "log", "ln", "exp", "sqrt", "pi", "inf", "infinity"})
_MONTH = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(
    rf"\d{{4}}-\d{{1,2}}-\d{{1,2}}|\d{{1,2}}[/.]\d{{1,2}}[/.]\d{{4}}|(?:.*\b(?:{_MONTH})[a-z]*\b.*\d.*|.*\d.*\b(?:{_MONTH})[a-z]*\b.*)",
    re.IGNORECASE,
)
_SPELLED = re.compile(r"\b(?:the|of|on)\b", re.IGNORECASE)
_ANSWER_IS = re.compile(r".*\banswer\s*(?:is|:|=)\s*(.+?)\s*\Z", re.IGNORECASE | re.DOTALL)


def is_same_answer(gold: str, found: str, *, is_boxed: bool = True) -> bool:
    """Not boxed, `found` is a whole text, in which what it calls its answer counts, or the last number or formula."""
    said = found if is_boxed else _said(found)
    if plain(gold) == plain(said):
        return bool(plain(gold))
    if choice := choice_of(gold):
        return choice == choice_of(said)
    if date := _date(gold):
        return date == _date(said)
    if not is_mathematics(gold):
        return False
    if not is_boxed:
        return _is_equal(quantity(gold)[0], found)
    (expected, units), (given, others) = quantity(gold), quantity(found)
    return is_same_unit(units, others) and _is_equal(expected, f"\\boxed{{{given}}}")


def is_mathematics(gold: str) -> bool:
    """A number, with or without units after it, or a formula. Words with a number in them are none."""
    bare = WORDING.sub(" ", gold)
    symbols = _COMMAND.sub("", bare) != bare
    words = [word for word in _WORD.findall(_COMMAND.sub(" ", bare)) if word.lower() not in _FUNCTIONS]
    has_operator = bool(re.search(r"[=+*/^<>]", bare))
    if not words:
        return symbols or has_operator or bool(re.search(r"\d", bare))
    if symbols or (has_operator and all(len(word) == 2 for word in words)):  # a product of variables
        return True
    return bool(_NUMBER_FIRST.match(bare))


def _is_equal(gold: str, found: str) -> bool:
    # It takes seconds to import, and most answers are compared as text.
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    forms = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
    expected, given = (parse(text, extraction_config=forms) for text in (f"\\boxed{{{gold}}}", found))
    return bool(given) and bool(verify(expected, given))


def _said(text: str) -> str:
    said = _ANSWER_IS.match(text)
    return said[1] if said else text


def _date(text: str) -> tuple[int | None, int, int] | None:
    """Year, if there is one, month and day; None if it is no date. In 3/5/2024 the month comes first."""
    text = _SPELLED.sub(" ", WORDING.sub(r"\1", text)).strip(" .$*")
    if not _DATE.fullmatch(text):
        return None
    try:
        one, other = (dates.parse(text, default=datetime(year, 1, day)) for year, day in ((1904, 1), (1908, 2)))
    except (ValueError, OverflowError):
        return None
    if one.day != other.day:  # a month and a year alone
        return None
    return (one.year if one.year == other.year else None, one.month, one.day)
