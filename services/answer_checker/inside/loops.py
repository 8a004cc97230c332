"""Assertions over items: where an answer returns no items, a loop or `all` over them asserts nothing, and holds all the
same.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from types import CodeType
from typing import Any

FILE = "example"
"""The file name of examples in tracebacks and frames."""
_EACH = "__each__"


class Loops:
    """Counts the items of an example's loops with assertions, and of its calls of `all`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._num_items = self._num_empty = 0

    @property
    def are_empty(self) -> bool:
        return self._num_empty > 0 and self._num_items == 0

    def names(self) -> dict[str, Any]:
        """Return what the code of `compiled` calls."""
        return {_EACH: self._each, "all": self._all}

    def _each(self, items: Iterable[Any]) -> Iterator[Any]:
        before = self._num_items
        for item in items:
            self._num_items += 1
            yield item
        self._num_empty += self._num_items == before

    def _all(self, items: Iterable[Any]) -> bool:
        is_of_example = sys._getframe(1).f_code.co_filename == FILE  # a helper of the prompt may ask it of nothing
        return builtins.all(self._each(items) if is_of_example else items)


class _Counted(ast.NodeTransformer):
    def visit_For(self, node: ast.For) -> ast.For:
        self.generic_visit(node)
        if any(isinstance(inner, ast.Assert) for inner in ast.walk(node)):
            node.iter = ast.Call(ast.Name(_EACH, ast.Load()), [node.iter], [])
        return node


@cache
def compiled(source: str) -> CodeType:
    """Return the code of an expression, or of a statement whose loops are counted. Raises SyntaxError."""
    try:
        return compile(source, FILE, "eval")
    except SyntaxError:
        tree = ast.fix_missing_locations(_Counted().visit(ast.parse(source)))
        return compile(tree, FILE, "exec")
