"""The line that a user of `tandem chat` edits: history, several lines, and a paste as one message."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.defaults import create_output

from tandem.paths import state_folder


def typed() -> Iterator[str]:
    """Each message, until Ctrl-D. Enter sends, Escape and Enter begin a new line."""
    session: PromptSession[str] = PromptSession(
        history=_history(), key_bindings=_bindings(), output=create_output(always_prefer_tty=True)
    )
    with contextlib.suppress(EOFError):
        while True:
            yield session.prompt("> ")


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("escape", "enter")
    def begin_a_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _history() -> History:
    """Keep the history for this user alone; of this chat only where it cannot be written."""
    file = state_folder() / "chat_history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)
