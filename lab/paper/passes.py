"""Every token's values in the scoring passes of the collected training questions, which the collected files keep as 16
statistics alone.

`python -m lab.paper.passes` computes the passes again, with the engine that the files were collected by, and writes a
file for each set to lab/paper/values (a quarter of an hour on two cores; files that exist are kept). The 16 statistics
must come out as they were collected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from lab.paper.answers import collected, profile
from lab.training.collect import Run
from lab.training.machine import Machine, engine_of
from services.models.engine.api import PromptScorer, PromptScores, Tokenizer
from services.sufficiency_scorer.scorer_inputs import features
from tandem.method.conversation import Task
from tandem.method.request.prompts import Prompt, answer_prompt
from tandem.paths import REPOSITORY, models_folder

VALUES = REPOSITORY / "lab" / "paper" / "values"
SETS: dict[str, Task] = {"math_train": "answer", "word_problems": "answer", "mbpp_train": "code"}
_WIDTH = 8
_SAME = 0.02
"""By how much a statistic may differ, of 1 + its size: a pass in another batch rounds otherwise."""


@dataclass(frozen=True)
class Passes:
    """The n passes of a set, in the order of examples_of. `values` float32[n, longest, 2]: each token's log-probability
    and entropy in nats, from the question's first on; NaN behind the last.
    """

    values: NDArray[np.float32]

    @property
    def lengths(self) -> NDArray[np.intp]:
        found: NDArray[np.intp] = (~np.isnan(self.values[:, :, 0])).sum(axis=1)
        return found


@cache
def passes(name: str) -> Passes:
    """Raises FileNotFoundError where is_kept is false."""
    with np.load(_file(name)) as kept:
        flat, lengths = kept["values"].astype(np.float32), kept["lengths"]
    values = np.full((len(lengths), lengths.max(), 2), np.nan, np.float32)
    for row, (end, length) in enumerate(zip(np.cumsum(lengths), lengths, strict=True)):
        values[row, :length] = flat[end - length : end]
    return Passes(values)


def is_kept(name: str) -> bool:
    return _file(name).is_file()


def _file(name: str) -> Path:
    return VALUES / f"{name}.npz"


def _prompts(name: str, task: Task, tokenizer: Tokenizer) -> Iterator[tuple[Run, Prompt]]:
    """Of each pass, by question in the table's order, then by stage."""
    found = collected(name)
    runs = {(run.question, run.name, run.stage): run for run in found.runs}
    for question in found.table.questions:
        large = runs[question, "llm", 0]
        ids = tokenizer.encode(large.text, plain=True)  # both models have one vocabulary
        for stage in range(found.table.stages):
            if run := runs.get((question, "slm", stage)):
                insight = tokenizer.decode(ids[: run.insight_tokens])
                yield run, answer_prompt(profile(), large.asked, insight, task).encoded(tokenizer)


async def _compute(name: str, slm: PromptScorer) -> None:
    of_prompts = list(_prompts(name, SETS[name], slm.tokenizer))
    values, differ = [], 0
    for begin in track(range(0, len(of_prompts), _WIDTH), description=name):
        part = of_prompts[begin : begin + _WIDTH]
        scored = await asyncio.gather(*(slm.score(run.question, prompt.ids) for run, prompt in part))
        for (run, prompt), scores in zip(part, scored, strict=True):
            found = _values(scores, prompt)
            values.append(found)
            differ += not _is_same(run, found)
    print(f"{name}: {len(values)} passes, {differ} with other statistics than collected")
    _keep(name, values)


def _values(scores: PromptScores, prompt: Prompt) -> NDArray[np.float32]:
    begin = max(0, prompt.span_start - 1)  # as ScorerInputs.of
    return np.column_stack([scores.logprobs[begin:], scores.entropies[begin:]]).astype(np.float32)


def _is_same(run: Run, values: NDArray[np.float32]) -> bool:
    assert run.features is not None
    found = features(values[:, 0], values[:, 1])
    return bool(np.all(np.abs(found - run.features) <= _SAME * (1 + np.abs(run.features))))


def _keep(name: str, values: Iterable[NDArray[np.float32]]) -> None:
    values = list(values)
    VALUES.mkdir(exist_ok=True)
    lengths = np.array([len(each) for each in values], np.int32)
    np.savez_compressed(_file(name), values=np.concatenate(values).astype(np.float16), lengths=lengths)


def main() -> None:
    missing = [name for name in SETS if not is_kept(name)]
    with engine_of(profile(), "slm", models_folder(), Machine(threads=1, width=_WIDTH)) as slm:
        for name in missing:
            asyncio.run(_compute(name, slm))


if __name__ == "__main__":
    main()
