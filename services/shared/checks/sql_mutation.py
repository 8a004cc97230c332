"""Rows like those of a database: some left out, repeated with another value, exchanged between rows, or without a value
where one has none.
"""

from __future__ import annotations

import random
import sqlite3
from typing import Any

from services.shared.checks.inputs import mutate

_LEFT_OUT, _CHANGED, _EXCHANGED, _EMPTIED = 0.15, 0.5, 0.3, 0.05
_MOST_ROWS = 500
Row = list[Any]


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
