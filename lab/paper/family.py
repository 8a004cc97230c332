"""A small model of another family: Gemma 3 270M, a base model, answers the ablation's questions alone and from its
whole briefs.

`TANDEM_PROFILES_PATH=lab/paper/profiles tandem models pull --profile qwen2.5-1.5b-gemma3-270m` downloads it, and
`python -m lab.paper.family` asks (a quarter of an hour on two cores; an interrupted run goes on). A base model follows
worked examples, so its prompts have two of our own; its text ends before it asks itself the next question.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lab.collecting import append_each, keep_origin, whole_lines
from lab.pages import points
from lab.paper import ablation
from lab.paper.answers import TESTS, collected, made_with, questions_of
from lab.training.datasets import Item
from lab.training.grading import grade
from lab.training.machine import Machine, engine_of
from lab.training.metrics import difference_of_means
from services.models.engine.api import Engine, GenerationRequest, Stops
from services.models.engine.batch import generate
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.prompts import answer_prompt
from tandem.paths import REPOSITORY, models_folder

FOLDER = REPOSITORY / "lab" / "paper" / "family"
_PROFILE = "qwen2.5-1.5b-gemma3-270m"
_NEXT = "\nQuestion:"
_WIDTH = 4  # questions at once on llama.cpp
SHIPPED, OTHER = "Qwen2.5-Coder 0.5B", "Gemma 3 270M, base"


@dataclass(frozen=True, slots=True)
class Answer:
    question: str
    is_briefed: bool
    answer: str
    right: bool
    tokens: int


@cache
def pair() -> Profile:
    return load_profile(_PROFILE, (REPOSITORY / "lab" / "paper" / "profiles",))


class Asker:
    def __init__(self, slm: Engine, briefs: Mapping[str, str]) -> None:
        self._slm, self._briefs = slm, briefs

    async def line(self, item: Item) -> list[dict[str, Any]]:
        answers = await asyncio.gather(self._ask(item, ""), self._ask(item, self._briefs[item.id]))
        return [asdict(answer) for answer in answers]

    async def _ask(self, item: Item, insight: str) -> Answer:
        prompt = answer_prompt(pair(), item.question, insight, item.task).encoded(self._slm.tokenizer)
        name, most = f"{item.id}/{bool(insight)}", pair().execution.max_tokens
        done = await generate(self._slm, GenerationRequest(name, prompt.ids, most, stops=Stops((_NEXT,))))
        found = grade(item, done.text)
        return Answer(item.id, bool(insight), found.answer, found.is_right, done.usage.completion)


@cache
def answers(name: str) -> Mapping[str, tuple[Answer, Answer]]:
    """Without and with the brief, by question."""
    lines = [tuple(Answer(**each) for each in json.loads(line)) for line in whole_lines(_file(name))]
    return {alone.question: (alone, briefed) for alone, briefed in lines}


def rows() -> Iterator[str]:
    """Cells of what was collected: points against the shipped small model with the same brief, paired."""
    for name in ablation.SETS:
        if found := answers(name):
            yield from _rows(name, found)


def _rows(name: str, found: Mapping[str, tuple[Answer, Answer]]) -> Iterator[str]:
    first = {run.question.partition("/")[2]: run for run in collected(name).runs if (run.name, run.stage) == ("slm", 0)}
    briefed = ablation.answers(name)
    shipped = (
        [(first[question].right, first[question].output_tokens) for question in found],
        [(each.right, each.tokens) for each in (briefed[question][ablation.WHOLE] for question in found)],
    )
    other = [[(both[number].right, both[number].tokens) for both in found.values()] for number in (0, 1)]
    for number, insight in enumerate(("none", ablation.WHOLE)):
        of_shipped = np.array([right for right, _ in shipped[number]])
        for shown, given in ((SHIPPED, shipped[number]), (OTHER, other[number])):
            right, tokens = (np.array(values, float) for values in zip(*given, strict=True))
            against = "" if shown == SHIPPED else points(difference_of_means(right, of_shipped))
            yield (
                f"{TESTS[name]} | {shown} | {insight} | {len(right)} | {right.mean():.1%} | {against} | "
                f"{tokens.mean():.0f}"
            )


def _file(name: str) -> Path:
    return FOLDER / f"{name}.jsonl"


async def _collect(name: str, slm: Engine) -> None:
    done, asked = answers(name).keys(), ablation.answers(name)
    prompts = [pair().prompts.question, pair().prompts.brief_answer]
    libraries = ("xllamacpp",)
    keep_origin(
        made_with("family", name, pair=pair(), roles=("slm",), engine="llamacpp", libraries=libraries, prompts=prompts),
        _file(name),
    )
    briefs = {question: each[ablation.WHOLE].insight for question, each in asked.items()}
    missing = [item for item in questions_of(name) if item.id in briefs.keys() - done]
    await append_each(_file(name), missing, Asker(slm, briefs).line, _WIDTH, len(done))


def main() -> None:
    machine = Machine(threads=2, width=2 * _WIDTH, engine="llamacpp")
    with engine_of(pair(), "slm", models_folder(), machine) as slm:
        for name in ablation.SETS:
            asyncio.run(_collect(name, slm))


if __name__ == "__main__":
    main()
