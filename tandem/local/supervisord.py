"""Supervisord's configuration file for a stack, the processes that it started, and how those that ended have ended."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tandem.local.layout import Layout, Process
from tandem.local.programs import program, withheld

# A process that ends is started again: at once if it had run for longer than the first, else after 1, 2, 3, ... s.
_CRASH_SECONDS = 60
MAX_RESTARTS = 20
"""In succession, before the supervisor gives a process up."""
PRIVATE = 0o077
"""The umask of every process: questions are in the logs and in Temporal's database, for this user alone."""
MARK = "TANDEM_STACK"  # in the environment of every process of a stack: its state folder
_EXIT = re.compile(r" exited: (\S+) \((.+); (?:not )?expected\)$", re.MULTILINE)


def configuration(layout: Layout) -> str:
    """Raises StackError when a binary is missing."""
    head = {
        "supervisord": {
            "logfile": str(layout.supervisor_log),
            "pidfile": str(layout.pidfile),
            "directory": str(layout.folder),
            "umask": f"{PRIVATE:03o}",
        },
        "unix_http_server": {"file": str(layout.socket)},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    sections: Mapping[str, Mapping[str, str]] = head | {
        f"program:{process.name}": _section(layout, process, priority)
        for priority, process in enumerate(layout.processes)
    }
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value.replace('%', '%%')}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def _section(layout: Layout, process: Process, priority: int) -> dict[str, str]:
    found = program(layout, process)
    environment = withheld(layout, process) | found.environment
    return {
        "command": shlex.join(found.command),
        "environment": ",".join(f'{name}="{value}"' for name, value in environment.items()),
        "stdout_logfile": str(layout.log(process.name)),
        "priority": str(priority),
        "redirect_stderr": "true",
        "autostart": "false",
        "autorestart": "true" if layout.restarts else "false",
        "startsecs": str(_CRASH_SECONDS if layout.restarts else 0),
        "startretries": str(MAX_RESTARTS),
        "stopasgroup": "true",
        "killasgroup": "true",
        "stopwaitsecs": "15",
    }


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return every process that was started for this folder, including those below a supervisord that was killed."""
    return [process for process in psutil.process_iter() if _belongs_to(folder, process)]


def end_waves(waves: Sequence[Collection[str]], processes: Sequence[psutil.Process], seconds: float) -> None:
    """End what a killed supervisord left, the last wave first, within `seconds` for each; the first wave has whoever
    tells no name.
    """
    named = {process: _name(process) for process in processes}
    for number in reversed(range(len(waves))):
        earlier = {name for wave in waves[:number] for name in wave} | ({""} if number else set())
        ending = [process for process, name in named.items() if name not in earlier and process.is_running()]
        for process in ending:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        psutil.wait_procs(ending, timeout=seconds)


def _name(process: psutil.Process) -> str:
    """Return the name that supervisord gives to all that it starts; Redis overwrites its environment with its title."""
    try:
        return process.environ().get("SUPERVISOR_PROCESS_NAME", "")
    except (psutil.Error, FileNotFoundError):
        return ""


def exits_in(log: Path) -> dict[str, Sequence[str]]:
    """Read from supervisord's log, by process, how it ended each time that nobody had asked it to: "exit status 1"."""
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
