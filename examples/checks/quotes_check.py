"""The check `quotes` as a package of its own: each value of a JSON answer stands in the question where the schema says
so.

Its argument is a JSON schema whose parts may have the keyword `x-quoted`: true, for a text, number or date by what the
value is, or false.
It holds for all parts below that have none of their own. Enums, booleans and null are never looked for: an answer with
one that is not said to be `x-quoted: false` does not pass, since nothing shows it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from services.shared.checks.api import Check, Compared, failed, needs_argument, passed, unknown
from services.shared.checks.built_in import normal, read_json

KEYWORD = "x-quoted"
_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_NUMBER = re.compile(r"(?<![\w.,-])[-−]?\d{1,3}(?:[,' ]\d{3})+(?:\.\d+)?(?![\w])|(?<![\w.])[-−]?\d+(?:[.,]\d+)?")
_ISO = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_NUMERIC_DATE = re.compile(r"\b(\d{1,2})[./](\d{1,2})[./](\d{4})\b")
_NAMED = "|".join(f"{month[:3]}(?:{month[3:]})?" for month in _MONTHS)
_SPOKEN_DATE = re.compile(
    rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\.? ({_NAMED})\.?,? (\d{{4}})\b|\b({_NAMED})\.? (\d{{1,2}})(?:st|nd|rd|th)?,? "
    rf"(\d{{4}})\b"
)
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SHOWN_CHARACTERS = 80


class _Source:
    """What stands in a text."""

    def __init__(self, text: str) -> None:
        self._text = normal(text)
        self._numbers = {number for match in _NUMBER.finditer(text) for number in _numbers(match[0])}
        self._numbers |= {Decimal(i) for i, word in enumerate(_WORDS) if re.search(rf"\b{word}\b", self._text)}
        self._dates = set(_dates(self._text))

    def count(self, value: str) -> int:
        """How often a text stands there, in whatever case and spaces."""
        text = normal(value)
        return len(re.findall(rf"(?<!\w){re.escape(text)}(?!\w)", self._text)) if text else 0

    def has(self, value: str | int | Decimal) -> bool:
        """Numbers are the same to the last digit."""
        if not isinstance(value, str):
            return value in self._numbers
        match = _ISO.fullmatch(value.strip())
        day = _day(*map(int, match.groups())) if match else None
        return (day is not None and day in self._dates) or self.count(value) > 0


def quoted_values(
    schema: Any, value: Any, path: str = "$", is_quoted: bool = False
) -> Iterator[tuple[str, str | int | Decimal | None]]:
    """Those of the answer that have to stand in the source, with their paths; None for one that cannot be looked
    for.
    """
    part = schema if isinstance(schema, dict) else {}
    is_quoted = part.get(KEYWORD, is_quoted)
    if isinstance(value, dict):
        for name, each in value.items():
            yield from quoted_values(part.get("properties", {}).get(name), each, f"{path}.{name}", is_quoted)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from quoted_values(part.get("items"), each, f"{path}[{index}]", is_quoted)
    elif is_quoted:
        is_shown = isinstance(value, str | int | Decimal) and not isinstance(value, bool) and "enum" not in part
        yield path, value if is_shown else None


def _compare(question: str, answer: str, argument: str) -> Compared:
    try:
        value = read_json(answer, Decimal)
    except ValueError as error:
        return failed(str(error))
    found = list(quoted_values(json.loads(argument), value))
    if not found:
        return unknown("no value of the answer has to stand in the text")
    source, shown = _Source(question), [(path, each) for path, each in found if each is not None]
    missing = [(path, each) for path, each in shown if not source.has(each)]
    if missing:
        path, each = missing[0]
        return failed(f"{_shown(each)} at {path} does not stand in the text", 1 - len(missing) / len(found))
    texts = Counter(normal(each) for _, each in shown if isinstance(each, str))
    if twice := next((text for text, used in texts.items() if 0 < source.count(text) < used), ""):
        return failed(f"{twice!r:.{_SHOWN_CHARACTERS}} is used more often than it stands in the text")
    if len(shown) < len(found):
        return unknown(f"{len(shown)} values stand in the text, {len(found) - len(shown)} cannot be looked for")
    return passed(f"{len(found)} values stand in the text")


def _shown(value: str | int | Decimal) -> str:
    return (repr(value) if isinstance(value, str) else str(value))[:_SHOWN_CHARACTERS]


def _validate(argument: str) -> None:
    """Quick, as it runs at admission: whether it is a good schema is not its matter."""
    try:
        schema = json.loads(argument)
    except RecursionError as error:
        raise ValueError(str(error)) from None
    if not isinstance(schema, dict) or KEYWORD not in argument:
        raise ValueError(f"no part of the schema has the keyword {KEYWORD!r}")


def _numbers(text: str) -> Iterator[Decimal]:
    """What a number can mean: with a decimal comma as well."""
    text = text.replace("−", "-")
    for candidate in (re.sub(r"[,' ]", "", text), text.replace(",", ".")):
        try:
            yield Decimal(candidate)
        except InvalidOperation:
            continue


def _dates(text: str) -> Iterator[date]:
    yield from (day for day in _read_days(text) if day is not None)


def _read_days(text: str) -> Iterator[date | None]:
    for year, month, day in _ISO.findall(text):
        yield _day(int(year), int(month), int(day))
    for one, two, year in _NUMERIC_DATE.findall(text):  # which of the two is the month is the writer's habit
        yield _day(int(year), int(two), int(one))
        yield _day(int(year), int(one), int(two))
    for day, month, year, month_first, day_after, year_last in _SPOKEN_DATE.findall(text):
        name = (month or month_first)[:3]
        number = next(i for i, each in enumerate(_MONTHS, 1) if each.startswith(name))
        yield _day(int(year or year_last), number, int(day or day_after))


def _day(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


QUOTES = Check("quotes", _compare, _validate, needs_argument)
