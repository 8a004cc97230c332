"""Supervisord's configuration file for a stack."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from tandem.local.layout import Layout, Process
from tandem.local.programs import program

# A process that ends is started again: at once if it had run for longer than the first, else after 1, 2, 3, ... s.
_CRASH_SECONDS = 60
MAX_RESTARTS = 20
"""In succession, before the supervisor gives a process up."""
PRIVATE = 0o077
"""The umask of every process: questions are in the logs and in Temporal's database, for this user alone."""


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
    return {
        "command": shlex.join(found.command),
        "environment": ",".join(f'{name}="{value}"' for name, value in found.environment.items()),
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
