"""Examples in a Markdown table: a row has the arguments of the prompt's function, or a call of it, and the value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from tandem.method.evidence.input_output import arguments_in, literal_in, parameters_of
from tandem.method.evidence.prompt_code import PromptCode
from tandem.method.evidence.whole_program import SEVERAL_ANSWERS

_RULE = re.compile(r"\s*\|?(?:\s*:?-+:?\s*\|)+(?:\s*:?-+:?)?\s*")
_BAR = re.compile(r"(?<!\\)\|")
_VALUE = re.compile(r"(?:expected|result|output|return|returns|value|answer)(?: (?:output|result|value))?", re.I)
_ALL_ARGUMENTS = re.compile(r"inputs?|arguments?|calls?|examples?", re.I)
_MARKS = "`* "


def table_pairs(text: str, prompt: PromptCode) -> Iterator[tuple[str, str]]:
    """A call with literals, and the literal that it has to be, for each row that can be read as that."""
    parameters = parameters_of(prompt)
    if parameters is None or SEVERAL_ANSWERS.search(text):
        return
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if number and _RULE.fullmatch(line):
            header = [cell.strip(_MARKS) for cell in _cells(lines[number - 1])]
            for row in takewhile(lambda row: "|" in row, lines[number + 1 :]):
                yield from _pair(header, _cells(row), parameters, prompt.entry)


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
    arguments, value = arguments_in(given, parameters), literal_in(row[at])
    if arguments and value:
        yield f"{entry}({arguments})", value


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(line.strip().removeprefix("|").removesuffix("|"))]
