"""Real tools for the agents beside this file, in a scratch folder: a SQLite database, a calculator, files."""

from __future__ import annotations

import argparse
import ast
import operator
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

TASK = (
    "First query the sum of all amounts in the table orders. Then calculate that sum times 1.19. Then write the "
    "product to the file "
    "total.txt. At the end say the product."
)
ORDERS = [("Ada", 40), ("Bob", 25), ("Cid", 35)]
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


class Workshop:
    """`calls` is what was called, with its results. A tool that fails says why, as its result."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, list[str]()
        with sqlite3.connect(folder / "shop.db") as database:
            database.execute("create table if not exists orders (customer text, amount real)")
            database.execute("delete from orders")
            database.executemany("insert into orders values (?, ?)", ORDERS)

    @property
    def tools(self) -> list[Callable[..., str]]:
        return [self.query, self.calculate, self.save]

    def query(self, sql: str) -> str:
        """Run one SQL statement on the SQLite database with the table orders(customer, amount)."""

        def rows() -> str:
            with sqlite3.connect(self.folder / "shop.db") as database:
                return "; ".join(", ".join(map(str, row)) for row in database.execute(sql)) or "no rows"

        return self._called(f"query({sql!r})", rows)

    def calculate(self, expression: str) -> str:
        """The value of an arithmetic expression with + - * / and parentheses."""
        return self._called(
            f"calculate({expression!r})", lambda: f"{_value(ast.parse(expression, mode='eval').body):g}"
        )

    def save(self, name: str, text: str) -> str:
        """Write a text to a file of the scratch folder."""

        def written() -> str:
            return f"{(self.folder / Path(name).name).write_text(text)} characters written"

        return self._called(f"save({name!r}, {text!r})", written)

    def _called(self, call: str, work: Callable[[], str]) -> str:
        try:
            result = work()
        except (sqlite3.Error, SyntaxError, ValueError, ArithmeticError, OSError, RecursionError) as error:
            result = f"Error: {error}"
        self.calls.append(f"{call} -> {result}")
        return result


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return float(_OPERATORS[type(op)](_value(left), _value(right)))
    raise ValueError("only numbers, + - * / and parentheses are arithmetic")


def main(run: Callable[[str, str, str, Workshop], str]) -> None:
    """`run` a model on a task, and print what was called: `python AGENT.py [MODEL [TASK]]`, with the HTTP gateway at
    TANDEM_HTTP.
    """
    address = os.environ.get("TANDEM_HTTP") or "http://127.0.0.1:8080"
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="?", default="qwen2.5-coder-1.5b-0.5b")
    parser.add_argument("task", nargs="?", default=TASK)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        answer = run(address, given.model, given.task, workshop)
        print(
            f"user       {given.task}",
            *(f"called     {call}" for call in workshop.calls),
            f"assistant  {answer}",
            sep="\n",
        )
