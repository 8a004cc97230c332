"""The operating system's processes of a stack, and how those that ended have ended."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import psutil

MARK = "TANDEM_STACK"  # in the environment of every process of a stack: its state folder
_EXIT = re.compile(r" exited: (\S+) \((.+); (?:not )?expected\)$", re.MULTILINE)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process that was started for this folder, including those below a supervisord that was killed."""
    return [process for process in psutil.process_iter() if _belongs_to(folder, process)]


def exits_in(log: Path) -> dict[str, Sequence[str]]:
    """By process, how it ended each time that nobody had asked it to, from supervisord's log: "exit status 1"."""
    found: dict[str, list[str]] = defaultdict(list)
    try:
        text = log.read_text(errors="replace")
    except FileNotFoundError:
        return {}
    for name, how in _EXIT.findall(text):
        found[name].append(how)
    return dict(found)


def _belongs_to(folder: Path, process: psutil.Process) -> bool:
    try:
        if process.environ().get(MARK) == str(folder):
            return True
        # Redis overwrites its environment with its title, but its working directory is the folder.
        return process.name() in ("redis-server", "valkey-server") and process.cwd() == str(folder)
    except (psutil.Error, FileNotFoundError):  # it is another user's, or about to end
        return False
