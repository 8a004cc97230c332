"""How strong a pass of `python_examples` is, by the number of examples that it was made of, and by what the first one
shows.

    python -m lab.training.strength mbpp_train --collected FILE --profile PAIR --out FILE

The first example is the prompt's; more are taken from the task's hidden tests, in their order. What they do not show is
left to grade the answer, and so is what they show: a pass of all tests is right by definition.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.training.checking import answer_checker
from lab.training.collect import Run
from lab.training.datasets import Item, load
from lab.training.store import read
from services.answer_checker.checker import AnswerChecker
from services.shared.checks.built_in import PYTHON_EXAMPLES
from tandem.method.answer import final_answer
from tandem.method.evidence.checks import CheckSpec, Verdict
from tandem.method.evidence.examples import find_examples, weight
from tandem.method.request.tasks import CheckTask

_MOST = 2
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Strength:
    """Of `n` answers of the small model to bare questions, `passed` did what so many examples say.

    `weight` is that of the prompt's only example; 0: whatever it shows. `right` of those are right; `lost` are wrong
    where the large model is right, `gained` right where it is wrong.
    """

    examples: int
    weight: int
    n: int
    passed: int
    right: int
    lost: int
    gained: int


async def strengths(items: Sequence[Item], slm: dict[str, Run], llm: dict[str, Run]) -> list[Strength]:
    """For 1 and 2 examples, of all questions and by the weight of the prompt's example. The runs are by question."""
    async with answer_checker(_AT_ONCE) as checker:
        passed = await asyncio.gather(*(_passed(item, slm[item.id], checker) for item in items))
    weights = [sum(map(weight, find_examples(item.question))) for item in items]
    answers = [
        _Answer(most, weighs, slm[item.id].right, llm[item.id].right)
        for item, most, weighs in zip(items, passed, weights, strict=True)
    ]
    kinds = (0, *sorted(set(weights)))
    return [_strength(number, kind, answers) for kind in kinds for number in range(1, _MOST + 1)]


@dataclass(frozen=True, slots=True)
class _Answer:
    passed: int
    weight: int
    is_right: bool
    is_llm_right: bool


def _strength(number: int, kind: int, answers: Sequence[_Answer]) -> Strength:
    among = [answer for answer in answers if kind in (0, answer.weight)]
    passed = [answer for answer in among if answer.passed >= number]
    return Strength(
        number,
        kind,
        len(among),
        len(passed),
        sum(answer.is_right for answer in passed),
        sum(answer.is_llm_right and not answer.is_right for answer in passed),
        sum(answer.is_right and not answer.is_llm_right for answer in passed),
    )


async def _passed(item: Item, run: Run, checker: AnswerChecker) -> int:
    """How many examples the answer passes, one after the other; 0 where it fails the prompt's own."""
    tests = [line.strip() for line in item.answer.splitlines() if line.strip().startswith("assert ")]
    answer, held = final_answer(run.text, "code"), 0
    for argument in ("", *tests[: _MOST - 1]):
        task = CheckTask(item.id, item.question, answer, [CheckSpec(PYTHON_EXAMPLES.name, argument)], "code")
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
        kind = f" of weight {each.weight}" if each.weight else ""
        print(
            f"{each.examples} examples{kind}: {each.passed} of {each.n} pass, {each.right} of these are right, "
            f"{each.lost} lost, {each.gained} gained"
        )
    command = f"python -m lab.training.strength {given.data} --collected {given.collected} --profile {given.profile}"
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
