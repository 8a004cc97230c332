"""Whether two final answers are the same: mathematics by math-verify, choices, dates and words as text."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

from dateutil import parser as dates

_WORDING = re.compile(r"\\(?:text|textbf|textit|mbox|mathrm|mathbf)\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_NUMBER_FIRST = re.compile(r"[\s$€£\\({\[+-]*\d")
_WORD = re.compile(r"[^\W\d_]{2,}")
_QUANTITY = re.compile(r"([^A-Za-z\\]*\d[^A-Za-z\\]*)\s([A-Za-z]{2}[\w .,/^-]*)")
_FUNCTIONS = frozenset({"sin", "cos", "tan", "log", "ln", "exp", "sqrt", "pi", "inf", "infinity"})
_CHOICE = re.compile(r"(?:option|choice)?\s*(?:\(([A-J])\)|([A-J])(?=$|[.:)]))", re.IGNORECASE)
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
    if _plain(gold) == _plain(said):
        return bool(_plain(gold))
    if choice := _choice(gold):
        return choice == _choice(said)
    if date := _date(gold):
        return date == _date(said)
    if not is_mathematics(gold):
        return False
    if not is_boxed:
        return _is_equal(_quantity(gold)[0], found)
    (expected, units), (given, others) = _quantity(gold), _quantity(found)
    return _is_same_unit(units, others) and _is_equal(expected, f"\\boxed{{{given}}}")


def is_mathematics(gold: str) -> bool:
    """A number, with or without units after it, or a formula. Words with a number in them are none."""
    bare = _WORDING.sub(" ", gold)
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


def _quantity(text: str) -> tuple[str, list[str]]:
    """A number, and the units that follow it in plain words; any other text as it is, without units."""
    found = _QUANTITY.fullmatch(text)
    return (found[1], _WORD.findall(found[2].casefold())) if found else (text, [])


def _is_same_unit(units: list[str], others: list[str]) -> bool:
    """18 may be 18 dollars, 18 cents are not."""
    alike = any(one.startswith(other) or other.startswith(one) for one in units for other in others)
    return alike or not (units and others)


def _said(text: str) -> str:
    said = _ANSWER_IS.match(text)
    return said[1] if said else text


def _plain(text: str) -> str:
    """Without case, white space, wrapping marks, and an article at the start."""
    text = unicodedata.normalize("NFKC", _WORDING.sub(r"\1", text)).casefold().replace("’", "'")
    text = re.sub(r"\\[ ,;!]|~|(?<=\w)-(?=[^\W\d])", " ", text).strip().strip(".!?,;:\"'`*$ ")
    return re.sub(r"^(?:the|an?)\s+(?=\w)", "", re.sub(r"\s+", " ", text))


def _choice(text: str) -> str:
    """The letter of "(B)", "B." or "B) Paris"; empty if it is no choice."""
    found = _CHOICE.match(_WORDING.sub(r"\1", text).strip("$ *"))
    return (found[1] or found[2]).upper() if found else ""


def _date(text: str) -> tuple[int | None, int, int] | None:
    """Year, if there is one, month and day; None if it is no date. In 3/5/2024 the month comes first."""
    text = _SPELLED.sub(" ", _WORDING.sub(r"\1", text)).strip(" .$*")
    if not _DATE.fullmatch(text):
        return None
    try:
        one, other = (dates.parse(text, default=datetime(year, 1, day)) for year, day in ((1904, 1), (1908, 2)))
    except (ValueError, OverflowError):
        return None
    if one.day != other.day:  # a month and a year alone
        return None
    return (one.year if one.year == other.year else None, one.month, one.day)
