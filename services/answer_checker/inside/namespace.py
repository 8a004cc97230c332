"""The names that examples use: the prompt's own, and the answer's from the other process."""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from services.answer_checker.inside.remote import Failed, Remote
from tandem.method.examples import Example


def make_namespace(setup: str, entry: str, examples: Iterable[Example], remote: Remote) -> dict[str, Any]:
    """Names for the examples: what the prompt defines, except `entry`; then what the answer does; then standard modules.

    The prompt's helpers run here, so that an answer cannot replace what examples compare with.
    """
    names: dict[str, Any] = {"__name__": "examples"}
    with suppress(Exception):  # a prompt that does not run: its names come from the answer
        exec(compile(setup, "prompt.py", "exec"), names)  # nosec B102  # runs in the sandbox
    if entry:
        names[entry] = remote.function(entry)
    open_names = [name for name in _used(examples) if name not in names and not hasattr(builtins, name)]
    with suppress(Failed):
        names |= remote.look(open_names)
    for name in open_names:
        if name not in names and name in sys.stdlib_module_names:
            with suppress(ImportError):
                names[name] = importlib.import_module(name)
    return names


def _used(examples: Iterable[Example]) -> list[str]:
    """Names that the examples read and none of them assigns."""
    read: set[str] = set()
    assigned: set[str] = set()
    for example in examples:
        for node in ast.walk(ast.parse(example.source)):
            if isinstance(node, ast.Name):
                (read if isinstance(node.ctx, ast.Load) else assigned).add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef):
                assigned.add(node.name)
    return sorted(read - assigned)
