"""How good agreement by execution is as evidence, on collected programs: what is accepted, and of these what is right.

    python -m lab.pairs.agreement --collected FILE [--second FILE]

The second opinion is the small model's program of a second file, of another pair. Without one it is the large model's
of the same file: that shows what the check is worth, not what a pair saves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lab.training.checking import answer_checker
from lab.training.collect import Run
from lab.training.metrics import Interval, accuracy
from lab.training.store import read
from services.answer_checker.checker import AnswerChecker
from services.shared.checks.built_in import PYTHON_EXAMPLES
from tandem.method.answer import final_answer
from tandem.method.evidence.checks import PROGRAMS_AGREE, CheckSpec, Verdict
from tandem.method.request.tasks import CheckTask

INPUTS = (0, 10, 30, 60, 120)
"""How many inputs are tried; 0: the prompt's examples alone decide."""
_AT_ONCE = 2


@dataclass(frozen=True)
class Agreement:
    """Of `n` questions with examples, `accepted` programs pass these and agree on so many inputs; `right` of them are
    right, with a 95 % interval (Wilson), and `lost` are wrong where the large model is right. `seconds`: mean processor
    time of a check of agreement.
    """

    inputs: int
    n: int
    accepted: int
    right: Interval | None
    lost: int
    seconds: float


@dataclass(frozen=True)
class _Question:
    small: Run
    large: Run
    second: str

    async def accepts(self, checker: AnswerChecker, inputs: int) -> tuple[bool, float]:
        answer = final_answer(self.small.text, "code")
        spec = CheckSpec(PYTHON_EXAMPLES.name, "")
        if inputs:
            spec = CheckSpec(PROGRAMS_AGREE, f"# inputs={inputs} least={min(10, inputs)}\n{self.second}")
        task = CheckTask(self.small.question, self.large.asked, answer, [spec], "code")
        [result] = await checker.check(task)
        return result.verdict is Verdict.PASS, result.seconds


async def agreements(runs: Sequence[Run], second: Sequence[Run]) -> list[Agreement]:
    """For each number of INPUTS. `second` are the other programs, one for each question at most."""
    large = {run.question: run for run in runs if run.name == "llm"}
    others = {run.question: final_answer(run.text, "code") for run in second}
    small = [
        run for run in runs if (run.name, run.stage) == ("slm", 0) and run.question in large.keys() & others.keys()
    ]
    questions = [_Question(run, large[run.question], others[run.question]) for run in small]
    async with answer_checker(_AT_ONCE) as checker:
        passed, found = questions, []
        for inputs in INPUTS:
            told = await asyncio.gather(*(question.accepts(checker, inputs) for question in passed))
            accepted = [question for question, (is_accepted, _) in zip(passed, told, strict=True) if is_accepted]
            seconds = sum(spent for _, spent in told) / max(len(told), 1)
            found.append(_agreement(inputs, len(questions), accepted, seconds))
            passed = accepted if not inputs else passed
    return found


def _agreement(inputs: int, n: int, accepted: Sequence[_Question], seconds: float) -> Agreement:
    right = np.array([question.small.right for question in accepted])
    lost = sum(not question.small.right and question.large.right for question in accepted)
    return Agreement(inputs, n, len(accepted), accuracy(right) if accepted else None, lost, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collected", type=Path, required=True)
    parser.add_argument("--second", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    _, runs = read(given.collected)
    second = [run for run in runs if run.name == "llm"]
    if given.second:
        second = [run for run in read(given.second)[1] if (run.name, run.stage) == ("slm", 0)]
    found = asyncio.run(agreements(runs, second))
    for each in found:
        right = f"{each.right.mean:.1%} right [{each.right.low:.1%}, {each.right.high:.1%}]" if each.right else "-"
        print(
            f"{each.inputs} inputs: {each.accepted} of {each.n} accepted, {right}, {each.lost} lost, "
            f"{1000 * each.seconds:.0f} ms"
        )
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
