"""The check `sql`: a query gives the expected result, or that of another query on the caller's rows and on mutations of
them.

Its argument is a JSON object: `setup`, the schema and the rows in SQLite's SQL; `expected` rows, or an `other` query;
`ordered` where the order of the rows matters. It runs in the checker's sandbox, on a database in memory, and may only
read: what it may do is told SQLite by an authorizer, statement by statement, so nothing of the query is parsed here.
"""

from __future__ import annotations

import json
import random
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from services.shared.checks.api import Check, Compared, failed, needs_argument, passed, unknown
from services.shared.checks.sql_database import SECONDS, Database, QueryError, Rows, RowsError
from services.shared.checks.sql_duckdb import DuckDatabase
from tandem.method.answer import last_block

_DATABASES, _LEAST_TOLD = 20, 3
_DIGITS = 9
_ENGINES: dict[str, type[Database] | type[DuckDatabase]] = {"sqlite": Database, "duckdb": DuckDatabase}


@dataclass(frozen=True, slots=True)
class SqlTask:
    setup: str
    expected: Rows | None
    other: str
    ordered: bool
    engine: str


class OtherQueryError(Exception):
    """The query that the answer's is compared with does not run."""


def parse_task(argument: str) -> SqlTask:
    """Raises ValueError."""
    try:
        given = json.loads(argument)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from None
    known = {"setup", "expected", "other", "ordered", "engine"}
    if not isinstance(given, dict) or not given.keys() <= known or not isinstance(given.get("setup"), str):
        raise ValueError(f"it is no object of {', '.join(sorted(known))} with a `setup`")
    if ("expected" in given) == ("other" in given):
        raise ValueError("give `expected` rows or an `other` query")
    expected, other = given.get("expected"), given.get("other", "")
    if expected is not None and not (isinstance(expected, list) and all(isinstance(row, list) for row in expected)):
        raise ValueError("`expected` is a list of rows, each a list")
    if not isinstance(other, str) or not isinstance(given.get("ordered", False), bool):
        raise ValueError("`other` is a text, and `ordered` true or false")
    engine = given.get("engine", "sqlite")
    if not isinstance(engine, str) or engine not in _ENGINES:
        raise ValueError(f"`engine` is one of {', '.join(_ENGINES)}")
    rows = None if expected is None else [tuple(row) for row in expected]
    return SqlTask(given["setup"], rows, other, given.get("ordered", False), engine)


def compare_sql(question: str, answer: str, argument: str) -> Compared:
    task, text = parse_task(argument), last_block(answer).strip().rstrip(";")
    try:
        database = _ENGINES[task.engine](time.monotonic() + SECONDS)
        database.set_up(task.setup)
    except QueryError as error:
        return unknown(f"the setup: {error}")
    try:
        return _judged(database, text, task)
    except QueryError as error:
        return failed(f"the query: {error}")


def _judged(database: Database | DuckDatabase, text: str, task: SqlTask) -> Compared:
    """Raises QueryError of the answer's query."""
    rows = database.query(text)
    if not database.read:
        return failed("the query reads no table")
    if task.expected is not None:
        return _as_expected(rows, task.expected, task.ordered)
    return _agreement(database, text, task)


def _as_expected(rows: Rows, expected: Rows, ordered: bool) -> Compared:
    if not _are_same(rows, expected, ordered):
        return failed(f"the query gives {_shown(rows)}, expected are {_shown(expected)}")
    return passed(f"{len(rows)} rows are as expected") if rows else unknown("an empty result shows nothing")


def _agreement(database: Database | DuckDatabase, text: str, task: SqlTask) -> Compared:
    """Of two queries on the given rows, and on mutations of them. A database on which both give nothing tells nothing.

    Raises QueryError of the answer's query.
    """
    told, generator = 0, random.Random(zlib.crc32(task.setup.encode()))  # nosec B311  # not a secret
    for number in range(_DATABASES):
        try:
            with database.other_rows(generator) if number else nullcontext(database) as tried:
                reference, rows = _reference(tried, task.other), tried.query(text)
        except (RowsError, OtherQueryError) as error:
            return unknown(str(error))
        if not _are_same(rows, reference, task.ordered):
            where = "rows like the given ones" if number else "the given rows"
            return failed(f"on {where} the query gives {_shown(rows)}, another one {_shown(reference)}")
        told += bool(rows)
    if told < _LEAST_TOLD:
        return unknown(f"{told} of {_DATABASES} databases have a result; at least {_LEAST_TOLD} must")
    return passed(f"the same as another query on {_DATABASES} databases")


def _reference(database: Database | DuckDatabase, query: str) -> Rows:
    try:
        return database.query(query)
    except QueryError as error:
        raise OtherQueryError(f"the other query: {error}") from None


def _are_same(rows: Rows, other: Rows, ordered: bool) -> bool:
    one, two = ([tuple(map(_normal, row)) for row in each] for each in (rows, other))
    return one == two if ordered else Counter(one) == Counter(two)


def _normal(value: Any) -> Any:
    """Numbers by value, to nine digits; whatever has no other form as its text."""
    if isinstance(value, bool | int | float):
        return float(f"{value:.{_DIGITS}g}") + 0.0
    return value if value is None or isinstance(value, str | bytes) else repr(value)


def _shown(rows: Sequence[Any]) -> str:
    text = repr(list(rows[:5]))
    return f"{len(rows)} rows: {text[:200]}" + ("…" if len(rows) > 5 or len(text) > 200 else "")


def _validate(argument: str) -> None:
    parse_task(argument)


SQL = Check("sql", compare_sql, _validate, needs_argument)
