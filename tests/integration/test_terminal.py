"""What models write does not drive the terminal that shows it: real commands in a real pseudo-terminal, and in
pipes.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
_MAIN = "import sys; sys.argv[0] = 'tandem'; from tandem.cli import main; main()"
# Clear the screen, set the title (with the one-byte introducer), ring, go back, turn the order of what follows.
DRIVING = "a\x1b[2J\x9d0;owned\x07\b\u202eb"
SHOWN = r"a\x1b[2J\x9d0;owned\x07\x08\u202eb"
QUESTION = f"[llm={DRIVING} slm={DRIVING} scores=16:0.9 llm_eos=40 slm_eos={len(DRIVING.encode())}]"
_OURS = re.compile(r"\x1b\[([0-9;]*m|\?25[lh]|2K|1A)|\r(?!\n)")  # colours, and the line that says what happens
_DRIVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


async def on_a_terminal(system: System, *arguments: str, stdin: bytes = b"") -> str:
    """What the terminal gets, without colours and without the carriage return of each line's end."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MAIN, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=theirs, stderr=theirs, env=environment(system),
    )  # fmt: skip
    os.close(theirs)
    reading = asyncio.create_task(asyncio.to_thread(_read_all, ours))
    await asyncio.wait_for(process.communicate(stdin), 120)
    shown = (await reading).decode()
    return _OURS.sub("", shown).replace("\r\n", "\n")


async def in_a_pipe(system: System, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _MAIN, *arguments, stdout=asyncio.subprocess.PIPE, env=environment(system)
    )
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    return out.decode()


def environment(system: System) -> dict[str, str]:
    return {**os.environ, "TANDEM_ADDRESS": system.client.address, "TERM": "xterm-256color", "COLUMNS": "400"}


def _read_all(terminal: int) -> bytes:
    with os.fdopen(terminal, "rb", buffering=0) as file:
        found = b""
        try:
            while part := file.read(1 << 16):
                found += part
        except OSError:  # Linux says so where the other end is closed
            pass
        return found


async def test_what_a_model_writes_is_shown_by_every_command_that_prints_it(system: System, tmp_path: Path) -> None:
    request = uuid4().hex
    asked = await on_a_terminal(system, "ask", "--request-id", request, QUESTION)
    shown = {
        "ask": asked,
        "ask -v": await on_a_terminal(system, "ask", "-v", "--request-id", request, QUESTION),
        "request get": await on_a_terminal(system, "request", "get", request),
        "request follow": await on_a_terminal(system, "request", "follow", request),
        "chat": await on_a_terminal(system, "chat", stdin=f"{QUESTION}\n".encode()),
    }
    assert [name for name, text in shown.items() if SHOWN not in text] == [], shown
    assert {name: found for name, text in shown.items() if (found := _DRIVES.findall(text.replace("\r", "")))} == {}
    listed = await on_a_terminal(system, "request", "list")
    assert _DRIVES.findall(listed) == []


async def test_json_on_a_terminal_holds_the_text_in_its_escapes(system: System) -> None:
    shown = await on_a_terminal(system, "ask", "--json", QUESTION)
    assert json.loads(shown)["answer"].startswith(DRIVING)
    assert _DRIVES.findall(shown) == []


async def test_a_pipe_gets_the_text_as_it_is(system: System) -> None:
    assert DRIVING in await in_a_pipe(system, "ask", QUESTION)


async def test_nothing_in_a_text_is_taken_for_markup(system: System) -> None:
    """Rich would end with an error at a tag that closes nothing."""
    text = "[/red][bold]x[link=http://evil.example]y"
    for shown in (
        await on_a_terminal(system, "request", "get", text),
        await on_a_terminal(system, "ask", "--profile", text, "x"),
    ):
        assert "Traceback" not in shown
        assert "http://evil.example" not in shown or "[link=" in shown
