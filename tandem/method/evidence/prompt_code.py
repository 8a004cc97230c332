"""The Python in a prompt: what it defines, and which function is to be written."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from tandem.method.evidence.python_parser import NO_PYTHON, parse_program
from tandem.method.evidence.whole_program import OUTPUT_OF, any_case, as_function, sample_runs

_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
_BODIES = "\n    pass\n", "\n        pass\n"
_HEADER = re.compile(r"(?P<indent>[ \t]*)(?:async[ \t]+)?(?:def|class)\b.*:[ \t]*(?:#.*)?")
_OWNER = "Solution"
"""The class whose method is to be written, by the convention of LeetCode; it has names of these modules without
importing them.
"""
OPERATE = "operate"
"""What a class of another name becomes for its examples, also LeetCode's: of names of operations and their arguments,
what each returns.
"""
DECIMALS = 5
"""To which LeetCode compares floats."""
_PRELUDE = f"""from typing import *
from string import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from itertools import *
from functools import *
from operator import *
from builtins import *
import bisect, collections, copy, datetime, functools, heapq, itertools, math, operator, random, re, string, sys
_given = dict(globals())
def _shown(value):
    if isinstance(value, float):
        return round(value, {DECIMALS})
    return [*map(_shown, value)] if isinstance(value, list | tuple) else value
"""
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class PromptCode:
    """`source` parses; empty: the prompt holds no code. `is_whole`: the prompt is nothing but code.

    `to_write` are the functions without a body; `entry` is the one to be written: the last of these, or the last one.
    With an `owner` it is a method of that class, and called as a function: each call makes an object. It is OPERATE
    where that class is to be written, and OUTPUT_OF where a whole program is (`reads_input`), whose output may be upper
    or lower case (`ignores_case`).
    """

    source: str = ""
    is_whole: bool = False
    entry: str = ""
    to_write: tuple[str, ...] = ()
    owner: str = ""
    docstrings: tuple[str, ...] = ()
    assertions: tuple[str, ...] = ()
    reads_input: bool = False
    ignores_case: bool = False

    def program(self, answer: str) -> str:
        """The prompt's code, which has the imports and helpers, then the answer's."""
        if self.reads_input:
            return as_function(answer, self.ignores_case)
        if self.owner:
            return f"{_PRELUDE}\n{self.runnable}\n\n{answer}\n{self._as_function}"
        return f"{self.runnable}\n\n{answer}\n" if self.source else f"{answer}\n"

    @property
    def _as_function(self) -> str:
        """The method as a function of its name, unless the answer has one; or the class as one. Tuples are lists, as in
        JSON.
        """
        if self.entry == OPERATE:
            return (
                f"\ndef {OPERATE}(operations, arguments):\n    made = {self.owner}(*arguments[0])\n"
                f"    each = zip(operations[1:], arguments[1:], strict=True)\n"
                f"    return [None, *(_shown(getattr(made, name)(*given)) for name, given in each)]\n"
            )
        return (
            f"\n_function = globals().get({self.entry!r})\nif _function is _given.get({self.entry!r}):\n"
            f"    def _function(*arguments, **keywords):\n"
            f"        return {self.owner}().{self.entry}(*arguments, **keywords)\n"
            f"def {self.entry}(*arguments, **keywords):\n    return _shown(_function(*arguments, **keywords))\n"
        )

    @property
    def runnable(self) -> str:
        """The code without its assertions, which do not hold before there is an answer."""
        if not self.assertions:
            return self.source
        body = [node for node in parse_program(self.source).body if not isinstance(node, ast.Assert)]
        return ast.unparse(ast.Module(body, []))

    def imports(self, module: str) -> bool:
        """Whether the prompt itself imports `module`, so that an answer needs it."""
        roots = set()
        for node in ast.walk(parse_program(self.source)):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots.add(node.module.partition(".")[0])
        return module.partition(".")[0] in roots


def parse_prompt(question: str) -> PromptCode:
    """The code of a prompt that is Python, or of its last code block that defines a function or a class to be written.

    Without code, and with runs that it shows, it asks for a whole program.
    """
    whole = _parsed(question)
    if whole is not None:
        return _described(*whole, question, is_whole=True)
    blocks = [found for block in _FENCED.findall(question) if (found := _parsed(block))]
    wanted = [found for found in blocks if _functions(found[1]) or _methods(found[1]) or _operated(found[1], question)]
    if wanted:
        return _described(*wanted[-1], question, is_whole=False)
    if blocks or not sample_runs(question):
        return PromptCode()
    return PromptCode(entry=OUTPUT_OF, to_write=(OUTPUT_OF,), reads_input=True, ignores_case=any_case(question))


def _parsed(text: str) -> tuple[str, ast.Module] | None:
    """As it is, or with a body for each function that has none."""
    for source in (text, *(text.rstrip() + body for body in _BODIES), _filled(text)):
        try:
            tree = parse_program(source)
        except NO_PYTHON:
            continue
        # Prose may parse by chance, as one word does. Code defines or imports something.
        if any(isinstance(node, _Function | ast.ClassDef | ast.Import | ast.ImportFrom) for node in tree.body):
            return source, tree
    return None


def _filled(text: str) -> str:
    lines = text.rstrip().splitlines()
    found = []
    for number, line in enumerate(lines):
        found.append(line)
        header = _HEADER.fullmatch(line)
        body = next((after for after in lines[number + 1 :] if after.strip()), "")
        if header and len(body) - len(body.lstrip()) <= len(header["indent"]):
            found.append(f"{header['indent']}    pass")
    return "\n".join(found) + "\n"


def _described(source: str, tree: ast.Module, question: str, *, is_whole: bool) -> PromptCode:
    functions = _functions(tree)
    operated = "" if functions else _operated(tree, question)
    owner = operated or ("" if functions or len(_methods(tree)) != 1 else _OWNER)
    functions = functions or (_methods(tree) if owner else [])
    to_write = (OPERATE,) if operated else tuple(function.name for function in functions if _is_open(function))
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
    return [node for owner in classes for node in _defined(owner) if _is_open(node)]


def _operated(tree: ast.Module, question: str) -> str:
    """The class that is to be written, where the question shows operations on it: `["MyQueue", "push"]`."""
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef) and any(map(_is_open, _defined(node)))]
    return next((name for name in names if re.search(rf'\[\s*"{name}"', question)), "")


def _defined(owner: ast.ClassDef) -> list[_Function]:
    return [node for node in owner.body if isinstance(node, _Function)]


def _is_open(function: _Function) -> bool:
    """Whether nothing but a docstring, `pass`, `...` or NotImplementedError is there."""
    return all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Raise) and "NotImplementedError" in ast.unparse(node))
        for node in function.body
    )
