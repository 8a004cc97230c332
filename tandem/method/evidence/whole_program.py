"""Prompts for a whole program, which reads its input and writes its output: the runs that they show, as AtCoder's and
Codeforces' do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

OUTPUT_OF = "output_of"
"""The function that a whole program becomes for its examples: of the text that it reads, what it writes, by
normal_output.
"""
SEVERAL_ANSWERS = re.compile(
    r"\bany order\b|\bany (?:one )?of (?:them|these|the)\b|\bany valid\b|\bany correct\b|\b(?:print|output|return) "
    r"any\b|\bany (?:such|permutation)\b"
    r"|\bis also (?:an? )?(?:valid|correct|accepted|acceptable)\b|\bmultiple (?:valid |correct |possible "
    r")?(?:answers|solutions)\b",
    re.I,
)
"""Where several answers are right, the one that is shown proves nothing."""
_EDGE = r"[\s#*`=_-]*"
_NUMBER = r"\s*(?:#?\d+)?\s*[:：]?"
_LABEL = re.compile(
    rf"{_EDGE}(?P<named>(?:sample|example)s?\s+)?(?:(?P<input>inputs?|入力例)|outputs?|出力例)(?P<named_after>\s+(?:sample|example))?{_NUMBER}{_EDGE}",
    re.I,
)
_HEADING = re.compile(rf"{_EDGE}(?:sample|example|test)s?(?:\s+(?:tests?|cases?|runs?))?{_NUMBER}{_EDGE}", re.I)
_ENDS_A_RUN = re.compile(
    r"[\s#*`=_-]*(?:(?:explanation|note|hint|constraints|format|answer|scoring|limits?|source)\b|###)", re.I
)
_PROSE = re.compile(r"\s*[*_`\"'(]*[A-Z][\w'’]*,?(?:\s+\S+){3,}")
_ASSIGNMENT = re.compile(r"\s*[A-Za-z_]\w*\s*=")
_INTERACTIVE = re.compile(r"\binteractive (?:problem|task)\b|\bflush\b", re.I)
_TOLERANT = re.compile(r"\b(?:absolute|relative) error\b|\babsolute or relative\b", re.I)
_ANY_CASE = re.compile(r"\bin any (?:letter )?case\b|\bcase[- ]insensitive", re.I)
_BLOCK_CHARACTERS = 4000
_FUNCTION = """
def {name}(text):
    import contextlib, io, os, sys, threading

    given = text.encode()
    if len(given) <= 65536:  # what a pipe holds: then also who opens descriptor 0 can read it
        reader, writer = os.pipe()
        os.write(writer, given)
        os.close(writer)
        if reader:  # a program before has closed 0 where it is that
            os.dup2(reader, 0)
            os.close(reader)
        raw = open(0, "rb", closefd=False)
    else:
        raw = io.BytesIO(given)
    before, written = sys.stdin, io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    sys.stdin = io.TextIOWrapper(raw, "utf-8")
    try:
        with contextlib.redirect_stdout(written), contextlib.suppress(SystemExit):
            exec(compile({answer!r}, "answer.py", "exec"), {{"__name__": "__main__"}})
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join()
    finally:
        sys.stdin = before
    lines = [" ".join(line.split()) for line in written.buffer.getvalue().decode(errors="replace").splitlines()]
    return "\\n".join(lines).strip(){fold}
"""


def sample_runs(question: str) -> list[tuple[str, str]]:
    """What a whole program reads, and what it then writes, by normal_output. None where another output may be right,
    too.
    """
    if SEVERAL_ANSWERS.search(question) or _INTERACTIVE.search(question):
        return []
    ignores_case, is_tolerant = any_case(question), _TOLERANT.search(question) is not None
    found = [(given, normal_output(shown, ignores_case)) for given, shown in _pairs(question.splitlines())]
    return [
        (given, shown)
        for given, shown in found
        if shown
        and max(len(given), len(shown)) <= _BLOCK_CHARACTERS
        and not _ASSIGNMENT.match(given)
        and not (is_tolerant and "." in shown)
    ]


def any_case(question: str) -> bool:
    """Whether letters of the output may be upper or lower."""
    return _ANY_CASE.search(question) is not None


def normal_output(text: str, ignores_case: bool = False) -> str:
    """Its words by lines; empty lines around them are nothing."""
    joined = "\n".join(" ".join(line.split()) for line in text.splitlines()).strip()
    return joined.casefold() if ignores_case else joined


def as_function(answer: str, ignores_case: bool) -> str:
    """Python that defines OUTPUT_OF; the program runs anew in each call. Its syntax is looked at once, as it is
    loaded.
    """
    fold = ".casefold()" if ignores_case else ""
    return f"compile({answer!r}, 'answer.py', 'exec')\n" + _FUNCTION.format(name=OUTPUT_OF, answer=answer, fold=fold)


def _pairs(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Blocks under a label for an input, each with that under the label for an output that follows."""
    is_listed, at = False, 0
    while at < len(lines):
        label = _LABEL.fullmatch(lines[at])
        if label and label["input"] and (is_listed or _is_named(label)):
            given, after = _block(lines, at + 1, ends_at_blank=False)
            label = _LABEL.fullmatch(lines[after]) if after < len(lines) else None
            if given and label and not label["input"]:
                shown, at = _block(lines, after + 1, ends_at_blank=True)
                if shown and _is_whole(lines, at):
                    yield "\n".join(given) + "\n", "\n".join(shown)
                continue
        if lines[at].strip():
            is_listed = _HEADING.fullmatch(lines[at]) is not None
        at += 1


def _is_named(label: re.Match[str]) -> bool:
    """Whether it is no heading of a section that says what the input is."""
    return bool(label["named"] or label["named_after"] or "例" in (label["input"] or ""))


def _block(lines: list[str], at: int, *, ends_at_blank: bool) -> tuple[list[str], int]:
    """The lines of a block from `at` on, and where it ends."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    if at < len(lines) and lines[at].lstrip().startswith("```"):
        end = next((i for i in range(at + 1, len(lines)) if lines[i].lstrip().startswith("```")), len(lines))
        after = end + 1
        while after < len(lines) and not lines[after].strip():
            after += 1
        return lines[at + 1 : end], after
    found = []
    while at < len(lines) and not _ends(lines[at]) and not (ends_at_blank and not lines[at].strip()):
        found.append(lines[at].rstrip())
        at += 1
    while found and not found[-1]:
        found.pop()
    return found, at


def _ends(line: str) -> bool:
    return bool(_LABEL.fullmatch(line) or _HEADING.fullmatch(line) or _ENDS_A_RUN.match(line))


def _is_whole(lines: list[str], at: int) -> bool:
    """Whether what follows an output, after an empty line, is surely no more of it."""
    after = next((line for line in lines[at:] if line.strip()), "")
    return not after or _ends(after) or _PROSE.match(after) is not None or after.lstrip().startswith("```")
