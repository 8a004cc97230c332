"""In how many of LeetCode's prompts examples are found, and whether right programs pass by them.

    python -m lab.pairs.leetcode CLONE --run 1000

CLONE is a clone of github.com/doocs/leetcode (CC BY-SA 4.0), whose statements and Python solutions are read and not
kept. A prompt is the statement with the solution's class, each method without its body.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import html
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.answer_checker.checker import AnswerChecker, start_sandbox
from services.answer_checker.sandbox.layers import Limits
from tandem.method.evidence.checks import EXAMPLES, CheckResult, CheckSpec
from tandem.method.evidence.examples import find_examples
from tandem.method.request.tasks import CheckTask

_DESCRIPTION = re.compile(r"<!-- description:start -->(.*?)<!-- description:end -->", re.DOTALL)
_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    name: str
    prompt: str
    solution: str
    is_method: bool


def problems(clone: Path) -> Iterator[Problem]:
    """Those with a solution in Python that is one class; of `Solution`, with one method."""
    for file in sorted(clone.glob("solution/[0-9]*/*/Solution.py")):
        solution, statement = file.read_text(), (file.parent / "README_EN.md").read_text()
        found, stub = _DESCRIPTION.search(statement), _stub(solution)
        if found and stub:
            prompt = f"{_text(found[1])}\n\n```python\n{stub}\n```\n"
            yield Problem(file.parent.name, prompt, solution, "class Solution" in stub)


def _text(markup: str) -> str:
    """As a user would copy it from the page."""
    text = re.sub(r"<sup>(.*?)</sup>", r"^\1", markup)
    text = re.sub(r"<[^>]+>", "", text.replace("<li>", "- ").replace("<br>", "\n"))
    return re.sub(r"\n{3,}", "\n\n", html.unescape(text).replace("\xa0", " ")).strip()


def _stub(solution: str) -> str:
    try:
        classes = [node for node in ast.parse(solution).body if isinstance(node, ast.ClassDef)]
    except SyntaxError:
        return ""
    named = [node for node in classes if node.name == "Solution"]
    if not classes or (named and sum(isinstance(node, ast.FunctionDef) for node in named[0].body) != 1):
        return ""
    chosen = (named or classes)[-1]
    for method in chosen.body:
        if isinstance(method, ast.FunctionDef):
            method.body = [ast.Pass()]
    return ast.unparse(chosen)


async def _passes(chosen: list[Problem]) -> list[CheckResult]:
    sandbox = await start_sandbox(allow_weak=False)
    try:
        checker = AnswerChecker(sandbox, Limits(seconds=10.0), 2, len(chosen))
        tasks = [CheckTask("leetcode", p.prompt, p.solution, [CheckSpec(EXAMPLES)], "code") for p in chosen]
        return [result for [result] in await asyncio.gather(*map(checker.check, tasks))]
    finally:
        await sandbox.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("clone", type=Path)
    parser.add_argument("--run", type=int, default=0, help="so many solutions, drawn at random, against their examples")
    given = parser.parse_args()
    everything = list(problems(given.clone))
    found = [problem for problem in everything if find_examples(problem.prompt)]
    for is_method, name in ((True, "a method of class Solution"), (False, "a class to be written")):
        share = [sum(each.is_method is is_method for each in some) for some in (found, everything)]
        print(f"{name}: examples in {share[0]} of {share[1]} prompts")
    chosen = random.Random(0).sample(found, min(given.run, len(found)))
    results = asyncio.run(_passes(chosen))
    print(f"right programs: {dict(Counter(str(result.verdict) for result in results))}")
    failed = [(p.name, r.detail) for p, r in zip(chosen, results, strict=True) if r.verdict != "pass"]
    for name, detail in failed[:_SHOWN]:
        print(f"  {name}: {detail[:150]}")


if __name__ == "__main__":
    main()
