"""What `tandem --help` lists: the commands by who uses them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tandem.cli.parts import Verb

GROUPS = {
    "Ask": ("ask", "chat", "batch", "request", "outcome", "profiles"),
    "Run it on this machine": ("up", "down", "status", "logs", "models", "doctor", "version"),
    "Choose a pair of models": ("plan", "prices", "profile"),
    "Train its stop rule": ("collect", "train", "calibrate", "eval", "bench"),
    "Operate it for others": ("check", "promises", "keys", "tenants", "spend", "trace"),
}


def write_commands(formatter: Any, verbs: Mapping[str, Verb]) -> None:
    for title, rows in _groups(verbs):
        with formatter.section(title):
            formatter.write_dl(rows)


def _groups(verbs: Mapping[str, Verb]) -> Iterable[tuple[str, list[tuple[str, str]]]]:
    """A verb that is in no group, such as another package's, is in the last one."""
    grouped = {name for names in GROUPS.values() for name in names}
    others = [name for name in verbs if name not in grouped]
    for title, names in (*GROUPS.items(), ("More", others)):
        if rows := [(name, verbs[name].help) for name in names if name in verbs]:
            yield title, rows
