"""The check `sql` as a package of its own: a query gives the expected result, or that of another query on the caller's
rows and on mutations of them.

Its argument is a JSON object: `setup`, the schema and the rows in SQLite's SQL; `expected` rows, or an `other` query;
`ordered` where the order of the rows matters. It runs in the answer checker's sandbox, on a database in memory, and may
only read: what it may do is told SQLite by an authorizer, statement by statement, so nothing of the query is parsed
here.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from services.shared.checks.api import Check, Compared, failed, needs_argument, passed, unknown
from services.shared.checks.inputs import mutate
from tandem.method.answer import last_block

_DATABASES, _LEAST_TOLD = 20, 3
_DIGITS = 9
MAX_ROWS, _MAX_LENGTH = 10_000, 1_000_000
SECONDS, _HEAP_BYTES = 3.0, 128 << 20
_STEPS = 10_000
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_NEVER = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_CREATE_VTABLE}
_FUNCTIONS_NEVER = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "randomblob", "zeroblob"}
_LEFT_OUT, _CHANGED, _EXCHANGED, _EMPTIED = 0.15, 0.5, 0.3, 0.05
_MOST_ROWS = 500
Row = list[Any]
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class SqlTask:
    setup: str
    expected: Rows | None
    other: str
    ordered: bool


class OtherQueryError(Exception):
    """The query that the answer's is compared with does not run."""


def parse_task(argument: str) -> SqlTask:
    """Raises ValueError."""
    try:
        given = json.loads(argument)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no JSON: {error}") from None
    known = {"setup", "expected", "other", "ordered"}
    if not isinstance(given, dict) or not given.keys() <= known or not isinstance(given.get("setup"), str):
        raise ValueError(f"it is no object of {', '.join(sorted(known))} with a `setup`")
    if ("expected" in given) == ("other" in given):
        raise ValueError("give `expected` rows or an `other` query")
    expected, other = given.get("expected"), given.get("other", "")
    if expected is not None and not (isinstance(expected, list) and all(isinstance(row, list) for row in expected)):
        raise ValueError("`expected` is a list of rows, each a list")
    if not isinstance(other, str) or not isinstance(given.get("ordered", False), bool):
        raise ValueError("`other` is a text, and `ordered` true or false")
    rows = None if expected is None else [tuple(row) for row in expected]
    return SqlTask(given["setup"], rows, other, given.get("ordered", False))


def compare_sql(question: str, answer: str, argument: str) -> Compared:
    task, text = parse_task(argument), last_block(answer).strip().rstrip(";")
    try:
        database = Database(time.monotonic() + SECONDS)
        database.set_up(task.setup)
    except QueryError as error:
        return unknown(f"the setup: {error}")
    try:
        return _judged(database, text, task)
    except QueryError as error:
        return failed(f"the query: {error}")


def _judged(database: Database, text: str, task: SqlTask) -> Compared:
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


def _agreement(database: Database, text: str, task: SqlTask) -> Compared:
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


def _reference(database: Database, query: str) -> Rows:
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


# -- SQLite -----------------------------------------------------------------------------------------------------------


class QueryError(Exception):
    """A query, or a script, that SQLite refuses, or that passes a limit."""


class RowsError(Exception):
    """There can be no rows like the given ones."""


class Database:
    """In memory, once `setup` has run. `read` are the tables that queries have read."""

    def __init__(self, deadline: float) -> None:
        self.read: set[str] = set()
        self._deadline, self._denied = deadline, ""
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        self.connection.execute(f"PRAGMA hard_heap_limit = {_HEAP_BYTES}")
        self.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_LENGTH)
        self.connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self.connection.setlimit(sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0)
        self.connection.set_progress_handler(lambda: time.monotonic() > self._deadline, _STEPS)

    def set_up(self, script: str) -> None:
        """Raises QueryError."""
        self.connection.set_authorizer(self._may_write)
        try:
            self.connection.executescript(script)
            self.connection.commit()  # what a script has begun: a copy would wait for its end for ever
        except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError) as error:
            raise QueryError(self._why(error)) from None

    @contextmanager
    def other_rows(self, generator: random.Random) -> Iterator[Database]:
        """A copy with other rows. Raises RowsError where a trigger or a limit of the setup's tables refuses that."""
        made = Database(self._deadline)
        with closing(made.connection):
            try:
                self.connection.set_authorizer(None)
                self.connection.backup(made.connection)
                mutate_rows(made.connection, generator)
            except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError, OverflowError) as error:
                raise RowsError(f"rows like the given ones: {self._why(error)}") from None
            yield made

    def query(self, text: str) -> Rows:
        """Of one statement that reads. Raises QueryError."""
        self.connection.set_authorizer(self._may_read)
        try:
            cursor = self.connection.execute(text)
            if cursor.description is None:
                raise QueryError("it gives no rows")
            rows = cursor.fetchmany(MAX_ROWS + 1)
        except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError) as error:
            raise QueryError(self._why(error)) from None
        if len(rows) > MAX_ROWS:
            raise QueryError(f"it gives more than {MAX_ROWS} rows")
        return rows

    def _why(self, error: BaseException) -> str:
        denied, self._denied = self._denied, ""
        if "interrupted" in str(error):
            return f"it did not end within {SECONDS:g} s"
        return f"{denied} is not allowed" if denied else str(error) or type(error).__name__

    def _may_write(self, action: int, one: str | None, *_: str | None) -> int:
        return self._deny("ATTACH, PRAGMA or a virtual table") if action in _NEVER else sqlite3.SQLITE_OK

    def _may_read(self, action: int, one: str | None, two: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in _FUNCTIONS_NEVER:
            return self._deny(f"the function {two}")
        if action == sqlite3.SQLITE_READ and one and not one.startswith("sqlite_"):
            self.read.add(one)
        return sqlite3.SQLITE_OK if action in _READS else self._deny("anything but reading")

    def _deny(self, what: str) -> int:
        self._denied = what
        return sqlite3.SQLITE_DENY


# -- rows like the given ones: some left out, repeated, exchanged or emptied -----------------------------------------


def mutate_rows(connection: sqlite3.Connection, generator: random.Random) -> None:
    """Each table anew, of a copy in memory; a row that breaks a constraint of the schema is left out, and a key stays
    one.
    """
    connection.set_authorizer(None)
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    for (name,) in names.fetchall():
        table = '"' + name.replace('"', '""') + '"'
        columns = [row for row in connection.execute(f"PRAGMA table_xinfo({table})") if not row[6]]  # none computed
        chosen = ", ".join('"' + row[1].replace('"', '""') + '"' for row in columns)
        rows = [list(row) for row in connection.execute(f"SELECT {chosen} FROM {table} LIMIT {_MOST_ROWS}")]  # nosec B608
        connection.execute(f"DELETE FROM {table}")  # nosec B608
        holes = ", ".join("?" * len(columns))
        insert = f"INSERT OR IGNORE INTO {table} ({chosen}) VALUES ({holes})"  # nosec B608
        connection.executemany(insert, like(rows, [bool(row[5]) for row in columns], generator))


def like(rows: list[Row], is_key: list[bool], generator: random.Random) -> list[Row]:
    """Keys of rows are kept, so that tables still meet; a repeated row has another one."""
    kept = [row for row in rows if generator.random() >= _LEFT_OUT]
    repeated = [list(generator.choice(rows)) for _ in range(max(2, len(rows) // 3))] if rows else []
    for row in repeated:
        for i, key in enumerate(is_key):
            row[i] = mutate(row[i], generator) if key or generator.random() < _CHANGED else row[i]
    found = kept + repeated
    for i, key in enumerate(is_key):
        if key or len(found) < 2:
            continue
        may_lack = any(row[i] is None for row in rows)  # else a row without a value may be outside of what is asked
        for row in found:
            if generator.random() < _EXCHANGED:
                other = generator.choice(found)
                row[i], other[i] = other[i], row[i]
            if may_lack and generator.random() < _EMPTIED:
                row[i] = None
    return found


SQL = Check("sql", compare_sql, _validate, needs_argument)
