"""Examples as problem sites write them: `Input: nums = [2,7], target = 9` and `Output: [0,1]`, for a function or for LeetCode's class."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tandem.method.prompt_code import PromptCode

_LABEL = r"(?:\*\*|`)?{}(?:\s*\d+)?\s*:?(?:\*\*|`)?\s*:?\s*"
_PAIR = re.compile(
    r"^[ \t]*" + _LABEL.format("(?:Sample )?Input") + r"(?P<input>\S.*?)\s*\n[ \t]*" + _LABEL.format("(?:Sample )?Output")
    + r"(?P<output>\S.*?)(?=\n\s*\n|\n[ \t]*(?:\*\*|`|#+ )?(?:Explanation|Example|Input|Sample|Note|Constraints)\b|\Z)",
    re.DOTALL | re.MULTILINE,
)  # fmt: skip
_BLOCK_CHARACTERS = 4000
_WORDS = {"true": True, "false": False, "null": None}
# Where several answers are right, the one that is shown proves nothing.
_SEVERAL_ANSWERS = re.compile(
    r"\bany order\b|\bany (?:one )?of (?:them|these|the)\b|\bany valid\b|\bmultiple (?:valid )?(?:answers|solutions)\b",
    re.I,
)
_NODES = re.compile(r"\b(?:ListNode|TreeNode|Node)\b")


def input_output_pairs(text: str, prompt: PromptCode) -> Iterator[tuple[str, str]]:
    """A call of the prompt's function with literals, and the literal that it has to be, for each pair that can be read as that."""
    parameters = _parameters(prompt)
    if parameters is None or _SEVERAL_ANSWERS.search(text):
        return
    for match in _PAIR.finditer(text):
        if len(match[0]) > _BLOCK_CHARACTERS:
            continue
        arguments, value = _arguments(match["input"], parameters), _literal(match["output"])
        if arguments and value:
            yield f"{prompt.entry}({arguments})", value


def _parameters(prompt: PromptCode) -> list[str] | None:
    """Of the function to be written; None where its values are no literals, or where it returns nothing."""
    if not prompt.entry or _NODES.search(prompt.source):
        return None
    for node in ast.walk(ast.parse(prompt.source)):
        if isinstance(node, ast.FunctionDef) and node.name == prompt.entry:
            is_silent = isinstance(node.returns, ast.Constant) and node.returns.value is None
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args) if argument.arg != "self"]
            return None if is_silent else names
    return None


def _arguments(text: str, parameters: list[str]) -> str:
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


def _literal(text: str) -> str:
    node = _parsed(" ".join(text.split()).strip("`"))
    return (_value(node) or "") if node else ""


def _parsed(source: str) -> ast.expr | None:
    try:
        return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _value(node: ast.expr) -> str | None:
    """The literal, with JSON's words as Python's; None: it is none."""
    try:
        source = ast.unparse(_Words().visit(node))
        ast.literal_eval(source)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return source


class _Words(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(_WORDS[node.id]) if node.id in _WORDS else node
