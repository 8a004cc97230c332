"""DuckDB for the check `sql`, where it is installed (extra `duckdb`): in memory, with no file, extension or setting
within reach.
"""

from __future__ import annotations

import datetime
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from services.shared.checks.sql_database import MAX_ROWS, SECONDS, QueryError, Rows, RowsError
from services.shared.checks.sql_mutation import like

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false", "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
    "allow_community_extensions": "false", "threads": "1", "memory_limit": "128MB", "temp_directory": "",
}  # fmt: skip
_MOST_ROWS = 500
_STACK_BYTES = 1 << 18  # the address space of a check is bounded, and DuckDB has most of it


class DuckDatabase:
    """In memory, once `setup` has run. `read` are the tables that queries have read."""

    def __init__(self, deadline: float) -> None:
        try:
            import duckdb
        except ImportError:
            raise QueryError("DuckDB is not installed in the answer checker") from None
        self.read: set[str] = set()
        self._duckdb, self._deadline = duckdb, deadline
        self._connection = duckdb.connect(":memory:", config=_CONFIG)
        self._connection.execute("SET lock_configuration = true")

    def set_up(self, script: str) -> None:
        """Raises QueryError."""
        with self._limited():
            kinds = {str(each.type).rpartition(".")[2] for each in self._connection.extract_statements(script)}
            if refused := kinds - {"CREATE", "INSERT", "UPDATE", "DELETE", "ALTER", "SELECT"}:
                raise QueryError(f"{', '.join(sorted(refused))} is not allowed")
            self._connection.execute(script)

    @contextmanager
    def other_rows(self, generator: random.Random) -> Iterator[DuckDatabase]:
        """This database with other rows, for as long as the block lasts. Raises RowsError where its tables refuse
        them.
        """
        try:
            with self._limited():
                self._connection.execute("BEGIN")
                self._mutate(generator)
        except QueryError as error:
            raise RowsError(f"rows like the given ones: {error}") from None
        try:
            yield self
        finally:
            self._connection.execute("ROLLBACK")

    def query(self, text: str) -> Rows:
        """Of one statement that reads. Raises QueryError."""
        with self._limited():
            statements = self._connection.extract_statements(text)
            if len(statements) != 1 or statements[0].type != self._duckdb.StatementType.SELECT:
                raise QueryError("anything but one SELECT is not allowed")
            self.read |= set(self._connection.get_table_names(text))
            rows = self._connection.execute(statements[0]).fetchmany(MAX_ROWS + 1)
        if len(rows) > MAX_ROWS:
            raise QueryError(f"it gives more than {MAX_ROWS} rows")
        return [tuple(map(_plain, row)) for row in rows]

    def _mutate(self, generator: random.Random) -> None:
        ask = self._connection.execute
        tables = "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' ORDER BY 1"
        for (name,) in ask(tables).fetchall():
            table = '"' + name.replace('"', '""') + '"'
            is_key = [bool(row[5]) for row in ask(f"PRAGMA table_info({table})").fetchall()]
            rows = [list(row) for row in ask(f"SELECT * FROM {table} LIMIT {_MOST_ROWS}").fetchall()]  # nosec B608
            ask(f"DELETE FROM {table}")  # nosec B608
            if found := like(rows, is_key, generator):
                holes = f"({', '.join('?' * len(is_key))})"
                unless = "OR IGNORE " if any(is_key) else ""
                values = [value for row in found for value in row]
                ask(f"INSERT {unless}INTO {table} VALUES {', '.join([holes] * len(found))}", values)  # nosec B608

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Ends what runs at the deadline. Raises QueryError for all that DuckDB refuses."""
        threading.stack_size(_STACK_BYTES)
        timer = threading.Timer(max(0.0, self._deadline - time.monotonic()), self._connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        except self._duckdb.InterruptException:
            raise QueryError(f"it did not end within {SECONDS:g} s") from None
        except (self._duckdb.Error, MemoryError, RuntimeError, ValueError, OverflowError) as error:
            raise QueryError(str(error)[:300] or type(error).__name__) from None
        finally:
            timer.cancel()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return (
        value.isoformat(" ")
        if isinstance(value, datetime.datetime)
        else value.isoformat()
        if isinstance(value, datetime.date | datetime.time)
        else value
    )
