"""The check `sql` with DuckDB, where it is installed: right and wrong queries, and nothing but one SELECT within
reach.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.shared.checks.registry import validate
from services.shared.checks.sql import compare_sql
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckSpec, Verdict
from tests.sql_tasks import SHOP

NAMES = "SELECT name FROM customer"


def test_an_engine_that_nobody_knows_is_refused() -> None:
    for engine in ("oracle", ["duckdb"]):
        with pytest.raises(InvalidArgument, match="engine"):
            validate(CheckSpec("sql", json.dumps({"setup": SHOP, "other": NAMES, "engine": engine})))


duckdb = pytest.importorskip("duckdb", reason="needs DuckDB: `uv sync --inexact --extra duckdb`")


def agreeing(query: str, other: str = NAMES, setup: str = SHOP) -> Verdict:
    return compare_sql("", query, json.dumps({"setup": setup, "other": other, "engine": "duckdb"})).verdict


@pytest.mark.parametrize(
    ("query", "other", "verdict"),
    [
        ("SELECT name FROM customer c WHERE c.city IN ('Bonn')", f"{NAMES} WHERE city = 'Bonn'", "pass"),
        (NAMES, f"{NAMES} WHERE city = 'Bonn'", "fail"),
        (
            "SELECT kind, sum(price) FROM product GROUP BY ALL",
            "SELECT kind, sum(price) FROM product GROUP BY kind",
            "pass",
        ),
        (
            "SELECT kind, max(price) FROM product GROUP BY kind",
            "SELECT kind, sum(price) FROM product GROUP BY kind",
            "fail",
        ),
        ("SELECT 5", "SELECT count(*) FROM customer", "fail"),
    ],
)
def test_queries_are_compared_on_mutated_rows(query: str, other: str, verdict: str) -> None:
    assert agreeing(query, other) == verdict


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{file}' AS other",
        "COPY customer TO '{file}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "PRAGMA database_list",
        "SET memory_limit = '1TB'",
        "SET enable_external_access = true",
        "EXPORT DATABASE '{file}'",
        "DELETE FROM customer",
        "SELECT name FROM customer; DROP TABLE customer",
        "SELECT name FROM customer, read_text('{file}')",
        "SELECT name FROM customer, read_csv('{file}')",
        "SELECT name FROM customer, '{file}'",
        "SELECT name FROM customer, glob('/*')",
        "SELECT name FROM customer, sqlite_scan('{file}', 'x')",
        "SELECT getenv('HOME') FROM customer",
        "SELECT count(*) FROM customer, range(10000000) a, range(10000000) b",
        "SELECT name FROM customer, range(1000000)",
        "SELECT repeat('x', 1000000000) FROM customer",
    ],
)
def test_what_is_more_than_one_query_of_its_rows_fails_within_limits(query: str, tmp_path: Path) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("secret\n")
    assert agreeing(query.format(file=file)) in (Verdict.FAIL, Verdict.UNKNOWN)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_a_setup_can_open_nothing_either(tmp_path: Path) -> None:
    for script in (
        f"ATTACH '{tmp_path}/a' AS a;",
        "SET threads = 9;",
        f"CREATE TABLE t AS FROM read_csv('{tmp_path}/a');",
    ):
        assert agreeing(NAMES, NAMES, SHOP + script) is Verdict.UNKNOWN
    assert not list(tmp_path.iterdir())
