"""Examples that a prompt describes: `Input: nums = [2,7], target = 9` and `Output: [0,1]`, as problem sites write them
for a function or for LeetCode's class, and rows of a Markdown table.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from tandem.method.evidence.prompt_code import DECIMALS, OPERATE, PromptCode
from tandem.method.evidence.python_parser import NO_PYTHON, parse_expression, parse_literal, parse_program
from tandem.method.evidence.whole_program import SEVERAL_ANSWERS

_LABEL = r"(?:\*\*|`)?{}(?:\s*\d+)?\s*:?(?:\*\*|`)?\s*:?\s*"
_PAIR = re.compile(
    r"^[ \t]*"
    + _LABEL.format("(?:Sample )?Input")
    + r"(?P<input>\S.*?)\s*\n[ \t]*"
    + _LABEL.format("(?:Sample )?Output")
    + r"(?P<output>\S.*?)(?=\n\s*\n|\n[ \t]*(?:\*\*|`|#+ )?(?:Explanation|Example|Input|Sample|Note|Constraints)\b|\Z)",
    re.DOTALL | re.MULTILINE,
)
_BLOCK_CHARACTERS = 4000
# Of a table: the line under its head, what parts its cells, and what its columns are called.
_RULE = re.compile(r"\s*\|?(?:\s*:?-+:?\s*\|)+(?:\s*:?-+:?)?\s*")
_BAR = re.compile(r"(?<!\\)\|")
_VALUE = re.compile(r"(?:expected|result|output|return|returns|value|answer)(?: (?:output|result|value))?", re.I)
_ALL_ARGUMENTS = re.compile(r"inputs?|arguments?|calls?|examples?", re.I)
_MARKS = "`* "
_WORDS = {"true": True, "false": False, "null": None}
_LITERALS = {
    "List",
    "Dict",
    "Set",
    "Tuple",
    "Optional",
    "Union",
    "Any",
    "Sequence",
    "Iterable",
    "Collection",
    "list",
    "dict",
    "set",
    "tuple",
    "int",
    "float",
    "str",
    "bool",
    "bytes",
    "object",
    "typing",
}
"""Names in annotations of arguments that literals can be."""


def described_pairs(text: str, prompt: PromptCode) -> Iterator[tuple[str, str]]:
    """A call of the prompt's function with literals, and the literal that it has to be, for each pair or row that can
    be read as that.
    """
    parameters = _parameters_of(prompt)
    if parameters is None or SEVERAL_ANSWERS.search(text):
        return
    yield from _input_output_pairs(text, prompt, parameters)
    yield from _table_pairs(text, prompt.entry, parameters)


def _input_output_pairs(text: str, prompt: PromptCode, parameters: list[str]) -> Iterator[tuple[str, str]]:
    for match in _PAIR.finditer(text):
        if len(match[0]) > _BLOCK_CHARACTERS:
            continue
        arguments, value = _arguments_in(match["input"], parameters), _literal_in(match["output"])
        if arguments and value:
            yield f"{prompt.entry}({arguments})", _rounded(value) if prompt.owner else value


def _parameters_of(prompt: PromptCode) -> list[str] | None:
    """Of the function to be written; None where its values are no literals, or where it returns nothing."""
    if not prompt.entry or not prompt.source or not _takes_literals(prompt):
        return None
    if prompt.entry == OPERATE:
        return ["operations", "arguments"]
    for node in ast.walk(parse_program(prompt.source)):
        if isinstance(node, ast.FunctionDef) and node.name == prompt.entry:
            is_silent = isinstance(node.returns, ast.Constant) and node.returns.value is None
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args) if argument.arg != "self"]
            return None if is_silent else names
    return None


def _takes_literals(prompt: PromptCode) -> bool:
    """Whether no argument is of a class, such as a node of a tree."""
    tree = parse_program(prompt.source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    wanted = [each for each in functions if prompt.entry in (each.name, OPERATE)]
    hints = [argument.annotation for each in wanted for argument in each.args.args if argument.annotation]
    words = " ".join(map(ast.unparse, [*hints, *(each.returns for each in wanted if each.returns)]))
    return set(re.findall(r"[A-Za-z_]\w*", words)) - {"None"} <= _LITERALS


def _rounded(value: str) -> str:
    class Rounded(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            return ast.Constant(round(node.value, DECIMALS)) if isinstance(node.value, float) else node

    return ast.unparse(Rounded().visit(parse_expression(value)))


def _arguments_in(text: str, parameters: list[str]) -> str:
    """As they stand in a call; empty: they are no literals, or others than the function takes."""
    lines = [line.strip().rstrip(",") for line in text.splitlines() if line.strip()]
    for source in (" ".join(lines), ", ".join(lines)):
        call = _parsed(f"f({source.strip('` ')})")
        if not isinstance(call, ast.Call) or any(keyword.arg is None for keyword in call.keywords):
            continue
        values = [_value(node) for node in (*call.args, *(k.value for k in call.keywords))]
        names = [keyword.arg for keyword in call.keywords]
        if None in values or len(values) != len(parameters):
            continue
        if call.args or set(names) != set(parameters):  # in the order of the text, whatever it calls them
            return ", ".join(map(str, values))
        return ", ".join(f"{name}={value}" for name, value in zip(names, values, strict=True))
    return ""


def _literal_in(text: str) -> str:
    node = _parsed(" ".join(map(str.strip, text.splitlines())).strip("` "))
    return (_value(node) or "") if node else ""


def _parsed(source: str) -> ast.expr | None:
    try:
        return parse_expression(source)
    except NO_PYTHON:
        return None


def _value(node: ast.expr) -> str | None:
    """The literal, with JSON's words as Python's; None: it is none."""
    try:
        source = ast.unparse(_Words().visit(node))
        parse_literal(source)
    except (TypeError, *NO_PYTHON):
        return None
    return source


class _Words(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_WORDS[node.id]) if node.id in _WORDS else node


def _table_pairs(text: str, entry: str, parameters: list[str]) -> Iterator[tuple[str, str]]:
    """A row has the arguments of the function, or a call of it, and the value."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if number and _RULE.fullmatch(line):
            header = [cell.strip(_MARKS) for cell in _cells(lines[number - 1])]
            for row in takewhile(lambda row: "|" in row, lines[number + 1 :]):
                yield from _pair(header, _cells(row), parameters, entry)


def _pair(header: Sequence[str], row: Sequence[str], parameters: list[str], entry: str) -> Iterator[tuple[str, str]]:
    """The first column of a value ends those of the arguments; what stands after it are remarks."""
    at = next((i for i, name in enumerate(header) if _VALUE.fullmatch(name) or f"{entry}(" in name), 0)
    if not at or len(row) != len(header):
        return
    if sorted(header[:at]) == sorted(parameters):
        given = ", ".join(f"{name}={cell.strip('`')}" for name, cell in zip(header[:at], row[:at], strict=True))
    elif at == 1 and _ALL_ARGUMENTS.fullmatch(header[0]):
        given = re.sub(rf"^{re.escape(entry)}\((.*)\)$", r"\1", row[0].strip("`"), flags=re.DOTALL)
    else:
        return
    arguments, value = _arguments_in(given, parameters), _literal_in(row[at])
    if arguments and value:
        yield f"{entry}({arguments})", value


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(line.strip().removeprefix("|").removesuffix("|"))]
