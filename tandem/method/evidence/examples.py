"""Examples that a prompt holds, or a caller sends: what a program has to do, found by parsing. Nothing is executed
here.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tandem.method.evidence.input_output import described_pairs
from tandem.method.evidence.prompt_code import PromptCode, parse_prompt
from tandem.method.evidence.python_parser import NO_PYTHON, parse_expression, parse_literal, parse_program
from tandem.method.evidence.whole_program import OUTPUT_OF, sample_runs

MAX_EXAMPLES = 100
MAX_STATEMENTS = 1000
_PROMPT, _CONTINUATION = ">>> ", "... "
_QUOTES = '"""', "'''"
_LINE_CHARACTERS = 2000
_STATEMENT_LINES = 30
# What stands between a call and its value, in the texts of people.
_SAYS = re.compile(
    r"\s*(?:==>|==|=>|->|=|➞|→|⇒|⟹|#(?:\s*(?:=>|->|==|returns?))?|[,:]?\s*(?:should|must|will)\s+(?:be|return|equal|give|output)"
    r"|returns?|gives?|is|equals?|outputs?|evaluates\s+to)\s*:?\s*"
)
_COMPARING = ast.Assert | ast.If | ast.For | ast.While | ast.With | ast.Try | ast.TryStar | ast.Raise | ast.Match
_COMMENT = re.compile(r"^\s*#\s?(.*)$", re.MULTILINE)
_LEFT_OF_A_VALUE = re.compile(r"(?:^|[\s`'\"(\[:,;.#]|print\()$")
_PART_OF_A_FORMULA = re.compile(r"(?:\S\s*[-+*/%&|^~<]|\b(?:not|and|or|in|def|lambda|if))\s*$")
_GOES_ON = re.compile(r"\w|\s*(?:[+*/%=<>(]|-\s*[\d(])")
_OTHER_WORDS = {"true": "True", "false": "False"}


class Form(StrEnum):
    """CALL: an expression with the literal that it is; SESSION: a line of an interactive session with what it shows;
    STATEMENT: an assertion, or another statement of a test.
    """

    CALL = "call"
    SESSION = "session"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class Example:
    """`source` is Python that parses. `expected` is a literal (CALL), or what is shown (SESSION)."""

    form: Form
    source: str
    expected: str = ""


def find_examples(question: str) -> list[Example]:
    """The examples in a prompt, in order of their forms, at most MAX_EXAMPLES."""
    prompt = parse_prompt(question)
    if prompt.reads_input:
        runs = [Example(Form.CALL, f"{OUTPUT_OF}({given!r})", repr(shown)) for given, shown in sample_runs(question)]
        return runs[:MAX_EXAMPLES]
    text = _prose(prompt) if prompt.is_whole else question
    sessions, rest = _sessions(text, prompt.entry)
    sessions = [example for example in sessions if not example.source.startswith("#")]
    asserts, rest = _asserts(rest)
    found: dict[tuple[str, str], Example] = {}
    pairs = (Example(Form.CALL, source, value) for source, value in described_pairs(rest, prompt))
    for example in (*sessions, *asserts, *_calls(rest, prompt.entry), *pairs):
        found.setdefault((example.source, example.expected), example)  # said twice, it proves no more
    return list(found.values())[:MAX_EXAMPLES]


def argument_examples(argument: str) -> list[Example]:
    """What a caller sends as a test: a session, or statements in the order in which they run.

    Raises ValueError for a text that is neither, and for one of which a part would be left out.
    """
    prompts = sum(line.lstrip().startswith(_PROMPT.strip()) for line in argument.splitlines())
    if prompts:
        found = _sessions(argument)[0]
        if len(found) < prompts:
            raise ValueError("a line after >>> is not Python")
    else:
        try:
            body = parse_program(argument).body
        except NO_PYTHON as error:
            raise ValueError(f"neither Python nor lines with >>>: {error}") from None
        found = [Example(Form.STATEMENT, ast.unparse(node)) for node in body]
    if len(found) > MAX_STATEMENTS:
        raise ValueError(f"{len(found)} statements, of at most {MAX_STATEMENTS}")
    return [example for example in found if not example.source.startswith("#")]


def weight(example: Example) -> int:
    """How much a pass of it proves at most: 0 where it cannot fail or shows None, 2 where it shows a text or a
    collection, else 1.

    A function without a body returns None.
    A wrong program often says True, 0 or nothing where that is right; it seldom writes the right text
    (docs/results.md, How strong a pass is).
    """
    if example.form is not Form.STATEMENT:
        return 2 if _is_telling(example.expected) else int(example.expected != "None")
    [node] = parse_program(example.source).body
    match node:
        case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right])):
            return 2 if any(_is_telling(ast.unparse(side)) for side in (left, right)) else 1
        case ast.Expr(value=value):
            return int(_may_compare(value))
    return int(isinstance(node, _COMPARING))


def _may_compare(value: ast.expr) -> bool:
    """Whether an expression as a statement may be a call that compares: one of a test's own, not of Python's
    containers.
    """
    match value:
        case ast.Call(func=ast.Name(id=name)):
            return not hasattr(builtins, name)
        case ast.Call(func=ast.Attribute(attr=name)):
            return not any(hasattr(kind, name) for kind in (list, dict, set, str, deque))
    return False


def _is_telling(text: str) -> bool:
    """Whether it is the literal of a text or a collection that is not empty."""
    try:
        value = parse_literal(text)
    except (TypeError, *NO_PYTHON):
        return False
    return isinstance(value, str | bytes | list | tuple | dict | set) and bool(value)


def parses(source: str) -> bool:
    """Whether it is Python."""
    try:
        parse_program(source)
    except NO_PYTHON:
        return False
    return True


def _prose(prompt: PromptCode) -> str:
    """The texts of a prompt that is Python: docstrings, comments and assertions. Strings elsewhere are no examples."""
    parts = [*prompt.docstrings, *_COMMENT.findall(prompt.source), *prompt.assertions]
    return "\n".join(parts)


def _sessions(text: str, entry: str = "") -> tuple[list[Example], str]:
    """Lines after >>> with what they show, and the text without them."""
    found: list[Example] = []
    rest: list[str] = []
    lines = deque(text.splitlines())
    while lines:
        line = lines.popleft()
        if not line.lstrip().startswith(_PROMPT):
            rest.append(line)
            continue
        indent = len(line) - len(line.lstrip())
        source, expected = [line.lstrip()[len(_PROMPT) :]], []
        while lines and lines[0].lstrip().startswith(_CONTINUATION.strip()):
            source.append(lines.popleft().lstrip().removeprefix("...").removeprefix(" "))
        while lines and _is_shown(lines[0]) and not (entry and f"{entry}(" in lines[0]):
            shown = lines.popleft().rstrip()
            expected.append(shown.lstrip() if shown[:indent].strip() else shown[indent:])
        joined = "\n".join(source).strip()
        if joined and parses(joined):
            found.append(Example(Form.SESSION, joined, "\n".join(expected)))
    return found, "\n".join(rest)


def _is_shown(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith((_PROMPT.strip(), *_QUOTES, "```"))


def _asserts(text: str) -> tuple[list[Example], str]:
    """Assertions, also over several lines, and the text without them."""
    found: list[Example] = []
    rest: list[str] = []
    lines = text.splitlines()
    while lines:
        line = lines.pop(0)
        if not line.lstrip().startswith(("assert ", "assert(")):
            rest.append(line)
            continue
        source = line.strip()
        for more in range(min(len(lines), _STATEMENT_LINES) + 1):
            whole = "\n".join([source, *lines[:more]])
            if parses(whole):
                found.append(Example(Form.STATEMENT, ast.unparse(parse_program(whole))))
                del lines[:more]
                break
    return found, "\n".join(rest)


def _calls(text: str, entry: str) -> Iterator[Example]:
    """Calls of `entry` with literals, and the literal that the text says they are."""
    if not entry:
        return
    # f(n) = f(n - 1) + 2 is how a text defines a sequence; then f(1) = 3 belongs to the definition, and need not be the
    # value.
    is_recurrence = re.search(rf"\b{re.escape(entry)}\s*\(\s*[a-z]\w*\s*\)\s*=[^=>]", text) is not None
    for line in text.splitlines():
        line = line[:_LINE_CHARACTERS]
        for match in re.finditer(rf"\b{re.escape(entry)}\s*\(", line):
            before = line[: match.start()]
            is_printed = before.endswith("print(")
            if not _LEFT_OF_A_VALUE.search(before) or (_PART_OF_A_FORMULA.search(before) and not is_printed):
                continue
            end = _end_of_call(line, match.start(), match.end())
            after = line[end:].lstrip("`'\"").removeprefix(")" if is_printed else "`")
            says = _SAYS.match(after)
            value = _leading_literal(after[says.end() :]) if end and says else ""
            if value and not (is_recurrence and says and says[0].strip() == "="):
                yield Example(Form.CALL, line[match.start() : end], value)


def _end_of_call(line: str, start: int, inside: int) -> int:
    """Where the call that begins at `start` ends; 0 if it never does, or if an argument is no literal."""
    for close in re.finditer(r"\)", line[inside:]):
        end = inside + close.end()
        if parses(line[start:end]):
            call = parse_expression(line[start:end])
            arguments = [*call.args, *(k.value for k in call.keywords)] if isinstance(call, ast.Call) else [call]
            return end if all(map(_is_literal, arguments)) else 0
    return 0


def _leading_literal(text: str) -> str:
    """The longest Python literal that `text` begins with; a tuple only in its parentheses. Empty: none."""
    text = text.lstrip("` ")
    for word, literal in _OTHER_WORDS.items():
        if re.match(rf"{word}\b", text):
            return literal
    ends = [match.start() for match in re.finditer(r"(?![\w.'\"\])}])|$", text) if match.start()]
    ends += [match.end() for match in re.finditer(r"[\]})'\"]", text)]
    for end in sorted(set(ends), reverse=True):
        candidate = text[:end].rstrip()
        for found in (candidate.rstrip("."), candidate):
            if found and _is_lone_literal(found):
                return "" if _GOES_ON.match(text[end:]) else found
    return ""


def _is_lone_literal(text: str) -> bool:
    try:
        node = parse_expression(text)
    except NO_PYTHON:
        return False
    is_bare_tuple = isinstance(node, ast.Tuple) and bool(node.elts) and node.elts[0].col_offset == 0
    return not is_bare_tuple and _is_literal(node)


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (TypeError, *NO_PYTHON):
        return False
    return True
