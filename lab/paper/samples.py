"""Self-consistency of the small model (Wang et al. 2022): what several sampled answers to a question agree on.

`python -m lab.paper.samples` asks the questions of two collected test sets (an hour or two on two cores; an interrupted
run goes on). The temperature is the paper's. Nothing is chosen by the answers: a majority decides, of answers that are
equal the earliest, or all must agree.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from lab.collecting import append_each, keep_origin, whole_lines
from lab.paper.answers import made_with, profile, questions_of
from lab.training.datasets import Item
from lab.training.final_answers import is_same_answer
from lab.training.grading import grade
from lab.training.machine import Machine, engine_of
from lab.training.pricing import LLM, PricedCourse, course, priced, tokens
from lab.training.table import Bools, Table
from services.models.engine.api import Engine, FinishReason, GenerationRequest
from services.models.engine.batch import generate
from tandem.method.request.plan import Plan
from tandem.method.request.prompts import answer_prompt
from tandem.method.tokens import Sampling, TokenCounts
from tandem.paths import REPOSITORY, models_folder

FOLDER = REPOSITORY / "lab" / "paper" / "samples"
SETS = ("gsm8k", "math_test")
MOST, TEMPERATURE = 5, 0.7
_WIDTH = 8  # questions at once, each with all its samples
LABELS = {
    "majority:3": "SLM, majority of 3 samples",
    "majority:5": "SLM, majority of 5 samples",
    "agreed:3": "SLM if 3 samples agree, else LLM",
    "agreed:5": "SLM if 5 samples agree, else LLM",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """`answer`: what was read from the text."""

    question: str
    number: int
    answer: str
    right: bool
    truncated: bool
    tokens: int


@cache
def samples(name: str) -> Mapping[str, list[Sample]]:
    """By question, MOST of each, in their order; empty where the set was not asked."""
    drawn = [[Sample(**each) for each in json.loads(line)] for line in whole_lines(_file(name))]
    return {each[0].question: each for each in drawn}


def outcomes(name: str, table: Table, plan: Plan) -> dict[str, PricedCourse]:
    """By the names of LABELS; none where a question of the table was not asked."""
    known = samples(name)
    ids = [question.partition("/")[2] for question in table.questions]
    if not known.keys() >= set(ids):
        return {}
    drawn = [known[name] for name in ids]
    return {
        method: (_majority if kind == "majority" else _agreed)(table, plan, [each[: int(count)] for each in drawn])
        for method in LABELS
        for kind, _, count in [method.partition(":")]
    }


def _majority(table: Table, plan: Plan, drawn: list[list[Sample]]) -> PricedCourse:
    chosen = [_largest(each)[0] for each in drawn]
    return _settled(table, plan, drawn, chosen, np.ones(len(drawn), bool))


def _agreed(table: Table, plan: Plan, drawn: list[list[Sample]]) -> PricedCourse:
    agreed = np.array([len(_largest(each)) == len(each) for each in drawn])
    return _settled(table, plan, drawn, [each[0] for each in drawn], agreed)


def _largest(drawn: list[Sample]) -> list[Sample]:
    """The samples of the answer that most give. One without an answer agrees with none."""
    groups: list[list[Sample]] = []
    for sample in drawn:
        same = (group for group in groups if sample.answer and is_same_answer(group[0].answer, sample.answer))
        if group := next(same, None):
            group.append(sample)
        else:
            groups.append([sample])
    return max(groups, key=len)


def _settled(table: Table, plan: Plan, drawn: list[list[Sample]], chosen: list[Sample], accepts: Bools) -> PricedCourse:
    """The samples share the prompt's cache; what they do not settle the large model answers."""
    prompt, count = table.slm.prompt[:, 0], len(drawn[0])
    written = np.array([sum(sample.tokens for sample in each) for each in drawn], float)
    alone = np.where(accepts, 0.0, 1.0)
    right = np.where(accepts, [sample.right for sample in chosen], table.llm.right)
    truncated = np.where(accepts, [sample.truncated for sample in chosen], table.llm.truncated)
    llm = tokens(table.llm.prompt * alone, table.llm.tokens * alone)
    slm = tokens(prompt, written) + TokenCounts(cached=cast(Any, prompt * (count - 1)))
    return priced(plan, course(right, truncated, np.where(accepts, 0, LLM), llm=llm, slm=slm))


def _file(name: str) -> Path:
    return FOLDER / f"{name}.jsonl"


class Sampler:
    def __init__(self, slm: Engine) -> None:
        self._slm = slm

    async def line(self, item: Item) -> list[dict[str, Any]]:
        prompt = answer_prompt(profile(), item.question, "", item.task).encoded(self._slm.tokenizer)
        drawn = await asyncio.gather(*(self._draw(item, prompt.ids, number) for number in range(MOST)))
        return [asdict(sample) for sample in drawn]

    async def _draw(self, item: Item, ids: tuple[int, ...], number: int) -> Sample:
        sampling = Sampling(TEMPERATURE, seed=number)
        wanted = GenerationRequest(f"{item.id}/{number}", ids, profile().execution.max_tokens, sampling=sampling)
        done = await generate(self._slm, wanted)
        found = grade(item, done.text)
        is_cut = done.reason is FinishReason.LENGTH
        return Sample(item.id, number, found.answer, found.is_right, is_cut, done.usage.completion)


async def _collect(name: str, slm: Engine) -> None:
    done, seeds = samples(name).keys(), list(range(MOST))
    keep_origin(made_with("samples", name, temperature=TEMPERATURE, seeds=seeds), _file(name))
    missing = [item for item in questions_of(name) if item.id not in done]
    await append_each(_file(name), missing, Sampler(slm).line, _WIDTH, len(done))


def main() -> None:
    with engine_of(profile(), "slm", models_folder(), Machine(threads=1, width=_WIDTH * MOST)) as slm:
        for name in SETS:
            asyncio.run(_collect(name, slm))


if __name__ == "__main__":
    main()
