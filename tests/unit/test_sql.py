"""The check `sql` of examples/checks: told right from wrong on 40 tasks, and nothing but reading, within limits."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from examples.checks.sql_check import SQL, compare_sql
from services.shared.checks.api import Compared
from tandem.method.evidence.checks import Verdict
from tests.sql_tasks import SHOP, TASKS

NAMES = "SELECT name FROM customer"


def agreeing(query: str, other: str = NAMES, setup: str = SHOP, *, ordered: bool = False) -> Compared:
    return compare_sql("", query, json.dumps({"setup": setup, "other": other, "ordered": ordered}))


def expecting(query: str, rows: list[list[object]], setup: str = SHOP, *, ordered: bool = False) -> Compared:
    return compare_sql("", query, json.dumps({"setup": setup, "expected": rows, "ordered": ordered}))


def rows_of(setup: str, query: str) -> list[list[object]]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(setup)
    return [list(row) for row in connection.execute(query)]


# -- 40 tasks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("setup", "reference", "right", "wrong"), TASKS)
def test_a_right_query_passes_by_the_expected_rows_and_by_agreement(
    setup: str, reference: str, right: str, wrong: str
) -> None:
    assert expecting(right, rows_of(setup, reference), setup).verdict is Verdict.PASS
    assert agreeing(right, reference, setup).verdict is Verdict.PASS


def test_mutated_rows_tell_wrong_queries_that_the_given_rows_do_not() -> None:
    """A query that differs only where a price is missing passes: no row of the caller's lacks one."""
    by_rows = [expecting(wrong, rows_of(setup, reference), setup) for setup, reference, _, wrong in TASKS]
    by_agreement = [agreeing(wrong, reference, setup) for setup, reference, _, wrong in TASKS]
    assert [found.verdict for found in by_rows].count(Verdict.PASS) == 7
    assert [found.verdict for found in by_agreement].count(Verdict.PASS) == 1


# -- what a pass is ---------------------------------------------------------------------------------------------------


def test_syntax_alone_never_passes() -> None:
    assert agreeing("SELECT name FROM customer WHERE 0", "SELECT name FROM customer WHERE 1 = 2").verdict == "unknown"
    assert expecting("SELECT name FROM customer WHERE 0", []).verdict == "unknown"
    constant = expecting("SELECT 5", [[5]])
    assert (constant.verdict, constant.detail) == ("fail", "the query reads no table")
    assert agreeing("SELEKT").verdict == "fail"
    assert agreeing("").verdict == "fail"
    assert agreeing(NAMES, "SELECT nothing FROM nowhere").verdict == "unknown"
    assert agreeing(NAMES, NAMES, "CREATE TABLE broken (").verdict == "unknown"


def test_order_numbers_and_repeated_rows_are_compared_as_asked() -> None:
    assert agreeing("SELECT name FROM customer ORDER BY id DESC").verdict == "pass"
    assert (
        agreeing("SELECT name FROM customer ORDER BY id DESC", f"{NAMES} ORDER BY id", ordered=True).verdict == "fail"
    )
    assert expecting("SELECT count(*) * 1.0 FROM customer", [[5]]).verdict == "pass"
    assert expecting("SELECT 1 FROM customer", [[1]]).verdict == "fail"
    assert agreeing("```sql\nSELECT name FROM customer;\n```").verdict == "pass"


@pytest.mark.parametrize(
    "argument",
    [
        "",
        "[]",
        "{}",
        '{"setup": 1}',
        '{"setup": ""}',
        '{"setup": "", "other": "", "expected": []}',
        '{"setup": "", "expected": [1]}',
        '{"setup": "", "other": "", "engine": "duckdb"}',
    ],
)
def test_what_is_no_task_is_refused_before_a_request_begins(argument: str) -> None:
    with pytest.raises(ValueError, match=r"JSON|setup|expected|ordered"):
        SQL.validate(argument)


# -- limits and escapes -----------------------------------------------------------------------------------------------

HUGE = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT "
ESCAPES = {
    "attach": "ATTACH 'FILE' AS other",
    "vacuum into a file": "VACUUM INTO 'FILE'",
    "an extension": "SELECT load_extension('FILE')",
    "a pragma": "PRAGMA writable_schema = 1",
    "a pragma's table": "SELECT * FROM pragma_database_list",
    "a write": "INSERT INTO customer VALUES (9, 'x', 'y')",
    "a drop": "DROP TABLE customer",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON customer BEGIN SELECT 1; END",
    "a virtual table": "CREATE VIRTUAL TABLE v USING fts5(a)",
    "two statements": "SELECT name FROM customer; DROP TABLE customer",
    "a transaction": "BEGIN EXCLUSIVE",
    "a huge join": "SELECT count(*) FROM " + ", ".join(f"customer c{i}" for i in range(30)),
    "an endless recursion": HUGE + "count(*) FROM n, customer",
    "too many rows": HUGE + "name FROM n, customer",
    "a huge text": "SELECT length(replace(hex(zeroblob(100000000)), '0', 'long')) FROM customer",
    "a growing text": "WITH RECURSIVE g(t) AS (VALUES ('x') UNION ALL SELECT t || t FROM g) SELECT max(t) FROM g, "
    "customer",
    "a deep expression": "SELECT " + "(" * 5000 + "1" + ")" * 5000 + " FROM customer",
    "a file": "SELECT readfile('FILE') FROM customer",
}


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES)
@pytest.mark.parametrize("where", ["query", "setup"])
def test_whatever_leaves_its_database_fails_within_the_limits(escape: str, where: str, tmp_path: Path) -> None:
    file, began = tmp_path / "file.db", time.monotonic()
    text = escape.replace("FILE", str(file))
    found = agreeing(text) if where == "query" else agreeing(NAMES, setup=f"{SHOP};{text}")
    if where == "query":
        assert found.verdict in ("fail", "error"), found
    assert not file.exists()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "more",
    [
        "CREATE TRIGGER no BEFORE DELETE ON customer BEGIN SELECT RAISE(ABORT, 'rows stay'); END;",
        "CREATE TRIGGER more AFTER INSERT ON customer BEGIN INSERT INTO nowhere VALUES (1); END;",
        "CREATE TRIGGER slow AFTER DELETE ON customer BEGIN"
        " INSERT INTO purchase SELECT NULL, 1, '', 0 FROM line a, line b, line c, line d, line e, line f, line g, "
        "line h, line i; END;",
    ],
)
def test_rows_that_cannot_be_mutated_say_nothing_and_break_nothing(more: str) -> None:
    found = agreeing(NAMES, NAMES, SHOP + more)
    assert found.verdict is Verdict.UNKNOWN
    assert found.detail.startswith("rows like the given ones: ")
