"""SQLite for the check `sql`: in memory, and it may only read: what it may do is told it by an authorizer, so nothing
of a query is parsed here.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from services.shared.checks.sql_mutation import mutate_rows

MAX_ROWS, _MAX_LENGTH = 10_000, 1_000_000
SECONDS, _HEAP_BYTES = 3.0, 128 << 20
_STEPS = 10_000
_READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_NEVER = {sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_CREATE_VTABLE}
_FUNCTIONS_NEVER = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "randomblob", "zeroblob"}
Rows = list[tuple[Any, ...]]


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
