"""Tables: whole rows in a pipe, whole words on a terminal of any width."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from tandem.cli import output
from tandem.cli.tables import print_table


def wide_table() -> Table:
    table = Table("request", "started", "tenant", "USD", box=None)
    table.add_row("f" * 32, "2026-11-26 20:00:00", "a-tenant-with-a-long-name", "0.00000001")
    return table


def printed(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool, optional: tuple[str, ...] = (), table: Table | None = None,
    width: int = 80,
) -> list[str]:  # fmt: skip
    console = output.Screen(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(output, "console", console)
    print_table(table or wide_table(), optional)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_in_a_pipe_a_row_is_one_line_with_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    _, row = printed(monkeypatch, terminal=False, optional=("tenant",))
    assert row.split() == ["f" * 32, "2026-11-26", "20:00:00", "a-tenant-with-a-long-name", "0.00000001"]


def test_in_a_terminal_of_80_columns_a_table_fits_and_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    head, row, note = printed(monkeypatch, terminal=True, optional=("tenant", "started"))
    assert head.split() == ["request", "started", "USD"]
    assert len(row.rstrip()) <= 80
    assert "f" * 32 in row
    assert "tenant" in note
    assert "started" not in note


def test_a_cell_is_wrapped_between_words_before_a_word_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("profile", "large model", "stages", box=None)
    stages = "outline ≤32, steps ≤96, solution ≤256"
    table.add_row("qwen2.5-coder-1.5b-0.5b *", "qwen2.5-coder-1.5b-instruct", stages)
    lines = printed(monkeypatch, terminal=True, table=table)
    assert all(len(line) <= 80 for line in lines)
    assert set(" ".join(lines[1:]).split()) == {
        *["qwen2.5-coder-1.5b-0.5b", "*", "qwen2.5-coder-1.5b-instruct"],
        *stages.split(),
    }


def test_rows_become_lists_where_not_even_their_words_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("request", "trace", "state", box=None)
    table.add_row("f" * 32, "e" * 32, "completed")
    table.add_row("d" * 32, "c" * 32, "failed")
    assert printed(monkeypatch, terminal=True, table=table, width=60) == [
        f"request  {'f' * 32}", f"trace    {'e' * 32}", "state    completed", "",
        f"request  {'d' * 32}", f"trace    {'c' * 32}", "state    failed",
    ]  # fmt: skip


WORDS = st.lists(st.text("abcdefgh", min_size=1, max_size=30), min_size=1, max_size=6).map(" ".join)


@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(WORDS, min_size=n, max_size=n), min_size=2, max_size=5)))
def test_no_word_is_ever_broken_at_80_columns(rows: list[list[str]]) -> None:
    table = Table(*rows[0], box=None)
    for row in rows[1:]:
        table.add_row(*row)
    with pytest.MonkeyPatch.context() as patch:
        shown = " ".join(printed(patch, terminal=True, table=table)).split()
    assert {word for row in rows for cell in row for word in cell.split()} <= set(shown)
