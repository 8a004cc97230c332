"""How strong a pass of `python_examples` is, by the number of examples that it was made of.

    python -m training.strength mbpp_train --collected FILE --profile PAIR --out FILE

The first example is the prompt's; more are taken from the task's hidden tests, in their order. What they do not show is left
to grade the answer, and so is what they show: a pass of all tests is right by definition.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from services.answer_checker.checker import AnswerChecker
from services.checks.python_examples import NAME
from tandem.method.answer import final_answer
from tandem.method.checks import CheckSpec, Verdict
from tandem.method.tasks import CheckTask
from training.checking import answer_checker
from training.collect import Run
from training.datasets import Item, load
from training.store import read

_MOST = 2
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Strength:
    """Of `n` answers of the small model to bare questions, `passed` did what so many examples say.

    `right` of those are right; `lost` are wrong where the large model is right, `gained` right where it is wrong.
    """

    examples: int
    n: int
    passed: int
    right: int
    lost: int
    gained: int


async def strengths(items: Sequence[Item], slm: dict[str, Run], llm: dict[str, Run]) -> list[Strength]:
    """For 1 and 2 examples. The runs are by question."""
    async with answer_checker(_AT_ONCE) as checker:
        passed = await asyncio.gather(*(_passed(item, slm[item.id], checker) for item in items))
    return [_strength(number, items, passed, slm, llm) for number in range(1, _MOST + 1)]


def _strength(
    number: int, items: Sequence[Item], passed: Sequence[int], slm: dict[str, Run], llm: dict[str, Run]
) -> Strength:
    pairs = [
        (slm[item.id].right, llm[item.id].right) for item, most in zip(items, passed, strict=True) if most >= number
    ]
    return Strength(
        number,
        len(items),
        len(pairs),
        sum(small for small, _ in pairs),
        sum(large and not small for small, large in pairs),
        sum(small and not large for small, large in pairs),
    )


async def _passed(item: Item, run: Run, checker: AnswerChecker) -> int:
    """How many examples the answer passes, one after the other; 0 where it fails the prompt's own."""
    tests = [line.strip() for line in item.answer.splitlines() if line.strip().startswith("assert ")]
    answer, held = final_answer(run.text, "code"), 0
    for argument in ("", *tests[: _MOST - 1]):
        task = CheckTask(item.id, item.question, answer, [CheckSpec(NAME, argument)], "code")
        [result] = await checker.check(task)
        if result.verdict is not Verdict.PASS:
            break
        held += 1
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--collected", type=Path, required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    origin, runs = read(given.collected)
    if origin.pair != given.profile:
        parser.error(f"{given.collected} is of {origin.pair}")
    slm = {run.question: run for run in runs if (run.name, run.stage) == ("slm", 0)}
    llm = {run.question: run for run in runs if run.name == "llm"}
    items = [item for item in load(given.data).items if item.id in slm]
    found = asyncio.run(strengths(items, slm, llm))
    for each in found:
        print(
            f"{each.examples} examples: {each.passed} of {each.n} pass, {each.right} of these are right, {each.lost} lost, {each.gained} gained"
        )
    command = f"python -m training.strength {given.data} --collected {given.collected} --profile {given.profile}"
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(
        json.dumps(
            {"command": command, "dataset_sha256": origin.dataset_sha256, "strengths": [asdict(s) for s in found]},
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
