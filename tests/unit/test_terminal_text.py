"""Whatever a model writes, nothing of it drives a terminal, and everything goes through the one place that sees to
it.
"""

from __future__ import annotations

import ast
import io
import os
import pty
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Column, Table
from rich.text import Text

from tandem.cli import output
from tandem.cli.answer_view import AnswerView
from tandem.cli.bill import print_result
from tandem.cli.output import Screen, print_json
from tandem.cli.tables import print_table
from tandem.cli.view import LiveView
from tandem.client.events import (
    Accepted,
    AnswerDelta,
    Checked,
    Completed,
    InsightDelta,
    Restarted,
    Scored,
    StageCompleted,
)
from tandem.method.evidence.checks import Verdict
from tandem.method.evidence.python_parser import parse_program
from tandem.method.request.events import AnswerText
from tandem.v1 import tandem_pb2

ROOT = Path(__file__).parents[2]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
NASTY = [
    "\x1b]0;title\x07",
    "\x9d0;t\x9c",
    "\x1b[2J",
    "\x1bP",
    "\r",
    "\b",
    "\x7f",
    "\u202e",
    "[bold]",
    "\x1b[31m",
    "\x0e",
]
TEXTS = st.lists(st.text() | st.sampled_from(NASTY), max_size=8).map("".join)


def drives(character: str) -> bool:
    """By Unicode's own tables, not by the list that is tested."""
    is_control = unicodedata.category(character) == "Cc" and character not in "\n\t"
    return is_control or unicodedata.bidirectional(character) in TURNING


def result(text: str) -> tandem_pb2.SolveResult:
    call = tandem_pb2.ToolCall(id=text, name=text, arguments=text)
    usage = {"llm": {"model": text}, "slm": {"model": text}, "scorer": {"model": text}}
    return tandem_pb2.SolveResult(
        answer=text, notes=[text], tool_calls=[call], usage=usage, trace_id=text, request_id=text,
        stop={"reason": tandem_pb2.STOP_REASON_LLM_FINISHED},
    )  # fmt: skip


def as_table(console: Screen, text: str) -> None:
    table = Table("a", Column(text), box=None)
    table.add_row(text, "b")
    print_table(table)


def as_events(console: Screen, text: str) -> None:
    view = LiveView(console)
    for event in (
        Accepted(text, text, text, 1, AnswerText.INSIGHT), InsightDelta(text, 1), StageCompleted(1, text, 1),
        Scored(1, 0.5, 0.6, False, text, True), Checked(text, 1, "slm", Verdict.FAIL, text, 0.0, 0.0, 1),
        Restarted("slm", 1, 2), AnswerDelta(text, 1), Completed(result(text)),
    ):  # fmt: skip
        view.show(event)


def as_answer(console: Screen, text: str) -> None:
    with AnswerView(console) as view:
        view.show(Accepted("r", "t", "p", 1, AnswerText.INSIGHT))
        view.show(InsightDelta(text, 1))
        view.show(Completed(result(text.strip())))


WAYS: dict[str, Callable[[Screen, str], None]] = {
    "write": lambda console, text: console.write(text, "green"),
    "print": lambda console, text: console.print(text, style="red"),
    "assembled": lambda console, text: console.print(Text.assemble(("a", "bold"), text)),
    "table": as_table,
    "events": as_events,
    "answer": as_answer,
    "result": lambda console, text: print_result(console, result(text)),
    "error": lambda _, text: output.console_error(text),
    "note": lambda _, text: output.console_note(text),
}


@pytest.mark.parametrize("way", WAYS)
@given(text=TEXTS)
def test_no_text_drives_the_terminal_it_is_shown_on(way: str, text: str) -> None:
    console = Screen(file=io.StringIO(), width=80, force_terminal=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "console", console)
        if way in ("error", "note"):
            patch.setattr(output, "_errors", console)
        WAYS[way](console, text)
    shown = _COLOUR.sub("", console.file.getvalue())  # type: ignore[attr-defined]
    assert not [character for character in shown if drives(character)], ascii(shown)
    if "\x1b[31m" in text and way != "table":  # where cells are wrapped
        assert r"\x1b[31m" in shown  # the text's own colour did not pass for one of ours


@given(text=TEXTS)
def test_json_drives_no_terminal_either(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shown: list[str] = []
        patch.setattr(output.typer, "echo", shown.append)
        print_json({text: [text]})
    assert not [character for character in shown[0] if drives(character)]


@pytest.mark.parametrize("variable", ["TTY_COMPATIBLE=0", "TERM=dumb", "NO_COLOR=1"])
def test_a_terminal_is_one_whatever_the_environment_says_of_it(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(*variable.split("="))
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours, "rb", buffering=0) as reading:
        console = Screen(file=terminal)
        console.write("\x1b]0;title\x07")
        console.print("\x1b]0;title\x07")
        terminal.flush()
        assert b"\x1b]" not in reading.read(1 << 10)


def test_commands_print_in_one_place() -> None:
    """`print` and `typer.echo` would pass it by. What is named here prints a text of ours that is meant for a
    program.
    """
    own = {"output.py", "__init__.py: echo", "keys.py: echo", "redis.py: echo"}
    found = set()
    for file in sorted((ROOT / "tandem" / "cli").rglob("*.py")):
        for node in ast.walk(parse_program(file.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                is_console = isinstance(node.func, ast.Attribute) and name in ("print", "write")
                if name in ("print", "echo", "secho") and not is_console:
                    found.add(f"{file.name}: {name}")
    assert {each for each in found if each.partition(":")[0] not in own} <= own
