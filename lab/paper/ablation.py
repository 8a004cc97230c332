"""The ablation of the insight's four parts: the shipped pair hands over by a brief, with one part left out, or all.

`python -m lab.paper.ablation` asks questions of two test sets, in an order of chance (hours on two cores; an
interrupted run goes on, and may be ended at any time: the table has the questions that all variants have answered). The
brief is that of the profile with the paper's sizes. Continuation, to compare with, is what the shipped profile has
collected at its last stage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lab.collecting import append_each, keep_origin, whole_lines
from lab.pages import points
from lab.paper.answers import TESTS, collected, made_with, profile, questions_of
from lab.training.collect import Run
from lab.training.datasets import Item
from lab.training.grading import grade
from lab.training.machine import Machine, engine_of
from lab.training.metrics import difference_of_means
from services.models.engine.api import Engine, FinishReason, GenerationRequest
from services.models.engine.batch import generate
from tandem.method.cost.cost import tflops_paper
from tandem.method.profile.profile import Profile
from tandem.method.request.prompts import answer_prompt, insight_prompt
from tandem.paths import REPOSITORY, models_folder

PARTS = "Goal", "Planning", "Retrieval", "Action"
WHOLE, CONTINUATION = "all four parts", "continuation"
VARIANTS = {WHOLE: (), **{f"without {part}": (part,) for part in PARTS}, "unstructured": PARTS}
"""The parts that are left out, by the variant's name."""
SETS = ("gsm8k", "math_test")
FOLDER = REPOSITORY / "lab" / "paper" / "ablation"
_BRIEF = "deepseek-r1-32b-7b"
_CAP = 208  # tokens: the shipped profile's last stage
_WIDTH = 8  # questions at once, each in all variants


@dataclass(frozen=True, slots=True)
class Answer:
    """The small model's, from an insight of the large one; token counts are of what each wrote."""

    question: str
    variant: str
    insight: str
    insight_tokens: int
    answer: str
    right: bool
    truncated: bool
    tokens: int


def brief(left_out: Sequence[str]) -> str:
    """The prompt for the large model."""
    lines = profile(_BRIEF).prompts.brief.splitlines()
    kept = "\n".join(line for line in lines if not line.startswith(tuple(f"{part}:" for part in left_out)))
    if len(left_out) == len(PARTS):
        return kept.replace(", in four labelled parts:", ".")
    return kept.replace("four", ("four", "three")[len(left_out)])


@cache
def variant(name: str) -> Profile:
    """The shipped profile as one that hands over by a brief."""
    prompts = {"brief": brief(VARIANTS[name]), "brief_answer": profile(_BRIEF).prompts.brief_answer}
    return profile().model_copy(
        update={"handoff": "brief", "prompts": profile().prompts.model_copy(update=prompts)},
    )


class Asker:
    def __init__(self, llm: Engine, slm: Engine) -> None:
        self._llm, self._slm = llm, slm

    async def line(self, item: Item) -> list[dict[str, Any]]:
        answers = await asyncio.gather(*(self._ask(item, name) for name in VARIANTS))
        return [asdict(answer) for answer in answers]

    async def _ask(self, item: Item, name: str) -> Answer:
        asked = insight_prompt(variant(name), item.question, item.task).encoded(self._llm.tokenizer)
        insight = await generate(self._llm, GenerationRequest(f"{item.id}/{name}/llm", asked.ids, _CAP))
        prompt = answer_prompt(variant(name), item.question, insight.text, item.task).encoded(self._slm.tokenizer)
        most = profile().execution.max_tokens
        done = await generate(self._slm, GenerationRequest(f"{item.id}/{name}/slm", prompt.ids, most))
        found = grade(item, done.text)
        is_cut = done.reason is FinishReason.LENGTH
        return Answer(
            item.id, name, insight.text, insight.usage.completion, found.answer, found.is_right, is_cut,
            done.usage.completion,
        )  # fmt: skip


@cache
def answers(name: str) -> Mapping[str, dict[str, Answer]]:
    """By question, then by variant."""
    lines = [[Answer(**each) for each in json.loads(line)] for line in whole_lines(_file(name))]
    return {line[0].question: {each.variant: each for each in line} for line in lines}


def rows() -> Iterator[str]:
    """Cells of what was collected: points against the whole brief, paired."""
    for name in SETS:
        found = answers(name)
        if not found:
            continue
        whole = np.array([each[WHOLE].right for each in found.values()])
        for shown in VARIANTS:
            given = [each[shown] for each in found.values()]
            yield _cells(name, shown, whole, [(each.right, each.insight_tokens, each.tokens) for each in given])
        runs = _last_stages(name)
        given_runs = [runs[question] for question in found]
        yield _cells(name, CONTINUATION, whole, [(r.right, r.insight_tokens, r.output_tokens) for r in given_runs])


def _last_stages(name: str) -> Mapping[str, Run]:
    """The small model's runs from the last stage that the large model's text has, by question."""
    runs = sorted((run for run in collected(name).runs if run.name == "slm"), key=lambda run: run.stage)
    return {run.question.partition("/")[2]: run for run in runs}


def _cells(name: str, shown: str, whole: Any, found: Sequence[tuple[bool, int, int]]) -> str:
    right, insight, own = (np.array(values, float) for values in zip(*found, strict=True))
    cost = tflops_paper(profile().llm.parameters, insight.mean(), profile().slm.parameters, own.mean())
    against = "" if shown == WHOLE else points(difference_of_means(right, whole))
    is_cut = "" if shown == CONTINUATION else f"{(insight == _CAP).mean():.0%}"
    return (
        f"{TESTS[name]} | {shown} | {len(found)} | {right.mean():.1%} | {against} | {insight.mean():.0f} | "
        f"{is_cut} | {own.mean():.0f} | {cost:.2f}"
    )


def _file(name: str) -> Path:
    return FOLDER / f"{name}.jsonl"


async def _collect(name: str, llm: Engine, slm: Engine, most: int) -> None:
    done, briefs = answers(name).keys(), [brief(each) for each in VARIANTS.values()]
    keep_origin(made_with("ablation", name, insight_tokens=_CAP, briefs=briefs), _file(name))
    missing = [item for item in questions_of(name)[:most] if item.id not in done]
    await append_each(_file(name), missing, Asker(llm, slm).line, _WIDTH, len(done))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="questions of each set")
    most = parser.parse_args().n
    machine = Machine(threads=1, width=_WIDTH * len(VARIANTS))
    with ExitStack() as engines:
        llm, slm = (
            engines.enter_context(engine_of(profile(), role, models_folder(), machine)) for role in ("llm", "slm")
        )
        for name in SETS:
            asyncio.run(_collect(name, llm, slm, most))


if __name__ == "__main__":
    main()
