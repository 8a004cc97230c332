"""The names that examples use: the prompt's own and standard modules. Of the answer's, only the functions that are
tested.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import re
import symtable
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from services.answer_checker.inside.remote import EXAMPLES, Failed, Remote
from tandem.method.evidence.examples import Example


@dataclass(frozen=True, slots=True)
class Test:
    """`setup` is the prompt's code, `to_write` its functions without a body, `entry` the one that is asked for."""

    question: str
    setup: str
    to_write: tuple[str, ...]
    entry: str
    examples: tuple[Example, ...]

    def namespace(self, functions: Mapping[str, Any]) -> dict[str, Any]:
        """Return a new one: what the prompt defines, standard modules that the examples use, and `functions`.

        The prompt's helpers run here, so that an answer cannot replace what examples compare with.
        """
        module = ModuleType(EXAMPLES)
        sys.modules[EXAMPLES] = module  # dataclasses look their own module up
        names = module.__dict__
        with suppress(Exception):  # a prompt that does not run: what it has not defined is not defined
            exec(compile(self.setup, "prompt.py", "exec"), names)  # nosec B102  # runs in the sandbox
        for name in _modules(self.examples):
            if name not in names:
                with suppress(ImportError):
                    names[name] = importlib.import_module(name)
        names.update(functions)
        return names

    def tested(self, remote: Remote) -> list[str]:
        """Return the functions that the answer is asked for: no other name comes from it, since it could then be its
        own judge.

        Those that the prompt leaves to write; else the one that it shows, and those that only the answer can define: if
        the question names them, or if it is one.
        """
        if self.to_write:
            return list(self.to_write)
        known, read = self.namespace({}), _undefined(self.examples)
        wanted = [name for name in read if name not in known and not hasattr(builtins, name)]
        found: list[str] = []
        with suppress(Failed):
            found = remote.callable_among(wanted)
        named = [name for name in found if re.search(rf"\b{name}\b", self.question)]
        alone = found if len(found) == 1 and self.entry not in read else []
        return [*([self.entry] if self.entry else []), *(named or alone)]


@cache
def _modules(examples: tuple[Example, ...]) -> list[str]:
    """Standard modules that are used, but not imported: never those that are called, as a function of that name is."""
    used, others = set[str](), set[str]()
    for example in examples:
        nodes = list(ast.walk(ast.parse(example.source)))
        bases = {id(node.value): node.value for node in nodes if isinstance(node, ast.Attribute)}
        used |= {base.id for base in bases.values() if isinstance(base, ast.Name)}
        others |= {node.id for node in nodes if isinstance(node, ast.Name) and id(node) not in bases}
    return sorted((used - others) & sys.stdlib_module_names & _undefined(examples))


@cache
def names_bound(source: str) -> frozenset[str]:
    """Return names that it assigns, defines or imports for what comes after."""
    return frozenset(
        symbol.get_name()
        for table in _tables(source)
        for symbol in table.get_symbols()
        if (table.get_type() == "module" or symbol.is_declared_global())
        and (symbol.is_assigned() or symbol.is_imported())
    )


@cache
def names_read(source: str) -> frozenset[str]:
    """Return names that it takes from what came before, or binds itself."""
    return frozenset(
        symbol.get_name()
        for table in _tables(source)
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module")
    )


def _undefined(examples: Sequence[Example]) -> set[str]:
    """Return names that the examples read, and that none of them binds."""
    read, bound = set[str](), set[str]()
    for example in examples:
        read |= names_read(example.source)
        bound |= names_bound(example.source)
    return read - bound


def _tables(source: str) -> Iterator[symtable.SymbolTable]:
    waiting = [symtable.symtable(source, EXAMPLES, "exec")]
    while waiting:
        table = waiting.pop()
        yield table
        waiting += table.get_children()
