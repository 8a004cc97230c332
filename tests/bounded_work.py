"""Work of every kind for the helper of `services.shared.bounded`."""

from __future__ import annotations

import os
import time
from pathlib import Path


def nothing(text: str) -> None:
    pass


def refuse(text: str) -> None:
    raise ValueError(f"{text} is wrong: " + "x" * 10_000)


def spin(text: str) -> None:
    while True:
        pass


def fill(text: str) -> None:
    held = []
    while True:
        held.append(bytearray(8 << 20))


def hold(text: str) -> None:
    b"x" * (32 << 20)


def fail(text: str) -> None:
    raise KeyError(text)


def die(text: str) -> None:
    os.abort()


def wait(text: str) -> None:
    """Says in the file `text` which process waits, for ever."""
    Path(text).write_text(str(os.getpid()))
    while True:
        time.sleep(60)
