"""Python's parser for what callers and models write, in one thread at a time.

Python 3.11 counts the depth of a tree that it builds over all threads at once: where one is switched for another
meanwhile, `ast.parse` ends in SystemError (https://github.com/python/cpython/issues/106905).
"""

from __future__ import annotations

import ast
from threading import Lock
from typing import Any

NO_PYTHON = (SyntaxError, ValueError, MemoryError, RecursionError)
"""What `parse_program` and `parse_expression` raise where the source is no Python, or too deep for its parser."""

_ONE_AT_A_TIME = Lock()


def parse_program(source: str) -> ast.Module:
    """Raises one of NO_PYTHON."""
    with _ONE_AT_A_TIME:
        return ast.parse(source)


def parse_expression(source: str) -> ast.expr:
    """Raises one of NO_PYTHON."""
    with _ONE_AT_A_TIME:
        return ast.parse(source, mode="eval").body


def parse_literal(source: str) -> Any:
    """The value. Raises one of NO_PYTHON, or TypeError for a set of lists and its like."""
    return ast.literal_eval(parse_expression(source))
