"""What int8 costs in accuracy: the same GSM8K questions, greedy, in bfloat16 and in compiled int8.

`python -m bench.accuracy --model slm`, on the default pair. `python -m bench.engine` measures the speed of each.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from rich.progress import track

from bench.common import Figures, default_profile, model_engine, must_be_compiled, report
from services.engine.api import GenerationRequest
from services.engine.batch import generate_batch
from services.engine.transformers_engine import TransformersEngine
from tandem.method.profile import Model, Profile
from tandem.method.prompts import llm_alone_prompt
from training.datasets import Item, load
from training.grading import grade
from training.metrics import accuracy, mcnemar

_BATCH = 25
_BASELINE, _INT8 = "bfloat16", "int8 compiled"
_QUANTIZATION = {_BASELINE: "none", _INT8: "int8"}


@dataclass(frozen=True, slots=True)
class _Graded:
    """One entry per question."""

    right: list[bool] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--questions", type=int, default=100)
    arguments.add_argument("--model", choices=["llm", "slm"], default="slm", help="of the default pair")
    options = arguments.parse_args()
    profile = default_profile()
    items = list(load("gsm8k").sample(options.questions, 0).items)
    report(f"accuracy-{options.model}", asyncio.run(_measure(profile, getattr(profile, options.model), items)))


async def _measure(profile: Profile, model: Model, items: list[Item]) -> Figures:
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(model_engine(model, max_batch=_BATCH, quantization=quantization))
            for name, quantization in _QUANTIZATION.items()
        }
        must_be_compiled(engines[_INT8])
        graded = await _grade(profile, model, engines, items)
    return {"model": model.name, "n": len(items), **_figures(graded)}


async def _grade(
    profile: Profile, model: Model, engines: dict[str, TransformersEngine], items: list[Item]
) -> dict[str, _Graded]:
    graded = {name: _Graded() for name in engines}
    for begin in track(range(0, len(items), _BATCH), description=model.name):
        batch = items[begin : begin + _BATCH]
        for name, engine in engines.items():
            texts = await _answer(profile, engine, batch)
            for item in batch:
                grading = grade(item, texts[item.id], "")
                graded[name].right.append(grading.is_right)
                graded[name].answers.append(grading.answer)
    return graded


async def _answer(profile: Profile, engine: TransformersEngine, items: list[Item]) -> dict[str, str]:
    """The generated text by the item's id."""
    max_tokens = profile.execution.max_tokens
    prompts = {item.id: llm_alone_prompt(profile, engine.tokenizer, item.question, item.task).ids for item in items}
    requests = (GenerationRequest(name, ids, max_tokens) for name, ids in prompts.items())
    return {done.request_id: done.text async for done in generate_batch(engine, requests, _BATCH)}


def _figures(graded: dict[str, _Graded]) -> Figures:
    baseline, int8 = graded[_BASELINE], graded[_INT8]
    same = [ours == theirs for ours, theirs in zip(int8.answers, baseline.answers, strict=True)]
    return {
        "accuracy": {name: vars(accuracy(np.array(each.right))) for name, each in graded.items()},
        "against_bfloat16": {
            _INT8: {
                "mcnemar_p": mcnemar(np.array(int8.right), np.array(baseline.right)),
                "same_answer": float(np.mean(same)),
            }
        },
    }


if __name__ == "__main__":
    main()
