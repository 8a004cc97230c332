"""The Python in a prompt: what it defines, and which function is to be written."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_BODIES = "\n    pass\n", "\n        pass\n"
_OWNER = "Solution"
"""The class whose method is to be written, by the convention of LeetCode; it has names of these modules without importing them."""
_PRELUDE = """from typing import *
from collections import *
from functools import *
from itertools import *
from bisect import *
from heapq import *
import bisect, collections, functools, heapq, itertools, math, operator, random, re, string
"""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class PromptCode:
    """`source` parses; empty: the prompt holds no code. `is_whole`: the prompt is nothing but code.

    `to_write` are the functions without a body; `entry` is the one to be written: the last of these, or the last one.
    With an `owner` it is a method of that class, and called as a function: each call makes an object.
    """

    source: str = ""
    is_whole: bool = False
    entry: str = ""
    to_write: tuple[str, ...] = ()
    owner: str = ""
    docstrings: tuple[str, ...] = ()
    assertions: tuple[str, ...] = ()

    def program(self, answer: str) -> str:
        """The prompt's code, which has the imports and helpers, then the answer's."""
        if self.owner:
            return f"{_PRELUDE}\n{self.runnable}\n\n{answer}\n{self._as_function}"
        return f"{self.runnable}\n\n{answer}\n" if self.source else f"{answer}\n"

    @property
    def _as_function(self) -> str:
        """The method as a function of its name, unless the answer has one."""
        return (
            f"\nif {self.entry!r} not in globals():\n"
            f"    def {self.entry}(*arguments, **keywords):\n"
            f"        return {self.owner}().{self.entry}(*arguments, **keywords)\n"
        )

    @property
    def runnable(self) -> str:
        """The code without its assertions, which do not hold before there is an answer."""
        if not self.assertions:
            return self.source
        body = [node for node in ast.parse(self.source).body if not isinstance(node, ast.Assert)]
        return ast.unparse(ast.Module(body, []))

    def imports(self, module: str) -> bool:
        """Whether the prompt itself imports `module`, so that an answer needs it."""
        roots = set()
        for node in ast.walk(ast.parse(self.source)):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots.add(node.module.partition(".")[0])
        return module.partition(".")[0] in roots


def parse_prompt(question: str) -> PromptCode:
    """The code of a prompt that is Python, or of its last code block that defines a function."""
    whole = _parsed(question)
    if whole is not None:
        return _described(*whole, is_whole=True)
    blocks = [
        found
        for block in _FENCED.findall(question)
        if (found := _parsed(block)) and (_functions(found[1]) or _methods(found[1]))
    ]
    return _described(*blocks[-1], is_whole=False) if blocks else PromptCode()


def _parsed(text: str) -> tuple[str, ast.Module] | None:
    """As it is, or with a body for the function that it ends in."""
    for source in (text, *(text.rstrip() + body for body in _BODIES)):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        # Prose may parse by chance, as one word does. Code defines or imports something.
        if any(isinstance(node, _Function | ast.ClassDef | ast.Import | ast.ImportFrom) for node in tree.body):
            return source, tree
    return None


def _described(source: str, tree: ast.Module, *, is_whole: bool) -> PromptCode:
    functions = _functions(tree)
    owner = "" if functions or len(_methods(tree)) != 1 else _OWNER
    functions = functions or (_methods(tree) if owner else [])
    to_write = tuple(function.name for function in functions if _is_open(function))
    entries = to_write or tuple(function.name for function in functions)
    documented = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | _Function)]
    return PromptCode(
        source=source,
        is_whole=is_whole,
        entry=entries[-1] if entries else "",
        to_write=to_write,
        owner=owner,
        docstrings=tuple(text for node in documented if (text := ast.get_docstring(node))),
        assertions=tuple(ast.unparse(node) for node in tree.body if isinstance(node, ast.Assert)),
    )


def _functions(tree: ast.Module) -> list[_Function]:
    return [node for node in tree.body if isinstance(node, _Function)]


def _methods(tree: ast.Module) -> list[_Function]:
    """Those of _OWNER that are to be written."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == _OWNER]
    return [node for owner in classes for node in owner.body if isinstance(node, _Function) and _is_open(node)]


def _is_open(function: _Function) -> bool:
    """Whether nothing but a docstring, `pass`, `...` or NotImplementedError is there."""
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node))
        for node in function.body
    )
