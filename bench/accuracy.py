"""What int8 costs in answers: the same GSM8K questions, greedy, in bfloat16 and in int8, compiled.

`python -m bench.accuracy --model slm`, of the default pair. How fast each is, `python -m bench.engine` says.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import ExitStack
from typing import Any

import numpy as np
from rich.progress import track

from bench.common import model_engine, must_be_compiled, report
from services.engine.api import GenerationRequest
from services.engine.batch import generate_batch
from services.engine.transformers_engine import TransformersEngine
from tandem.method.profile import Model, Profile, load_profile
from tandem.method.prompts import llm_alone_prompt
from tandem.paths import DEFAULT_PROFILE, profile_folders
from training.datasets import Item, load
from training.grading import grade
from training.metrics import accuracy, mcnemar

_BATCH = 25
WAYS: dict[str, dict[str, Any]] = {
    "bfloat16": {"quantization": "none"},
    "int8 compiled": {"quantization": "int8"},
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--questions", type=int, default=100)
    arguments.add_argument("--model", choices=["llm", "slm"], default="slm", help="of the default pair")
    options = arguments.parse_args()
    profile = load_profile(DEFAULT_PROFILE, tuple(profile_folders()))
    items = list(load("gsm8k").sample(options.questions, 0).items)
    measured = _measure(profile, getattr(profile, options.model), items)
    report(f"accuracy-{options.model}", asyncio.run(measured))


async def _measure(profile: Profile, model: Model, items: list[Item]) -> dict[str, Any]:
    with ExitStack() as open_:
        engines = {
            way: open_.enter_context(model_engine(model, max_batch=_BATCH, **told)) for way, told in WAYS.items()
        }
        must_be_compiled(engines["int8 compiled"])
        return await _compare(profile, model, engines, items)


async def _compare(
    profile: Profile, model: Model, engines: dict[str, TransformersEngine], items: list[Item]
) -> dict[str, Any]:
    right: dict[str, list[bool]] = {way: [] for way in WAYS}
    answers: dict[str, list[str]] = {way: [] for way in WAYS}
    for begin in track(range(0, len(items), _BATCH), description=model.name):
        batch = items[begin : begin + _BATCH]
        for way, engine in engines.items():
            texts = await _answer(profile, engine, batch)
            graded = [grade(item, texts[item.id], "") for item in batch]
            right[way] += [g.is_right for g in graded]
            answers[way] += [g.answer for g in graded]
    return {
        "model": model.name,
        "n": len(items),
        "accuracy": {way: vars(accuracy(np.array(right[way]))) for way in WAYS},
        "against_bfloat16": {
            way: {
                "mcnemar_p": mcnemar(np.array(right[way]), np.array(right["bfloat16"])),
                "same_answer": float(np.mean([a == b for a, b in zip(answers[way], answers["bfloat16"], strict=True)])),
            }
            for way in WAYS
            if way != "bfloat16"
        },
    }


async def _answer(profile: Profile, engine: TransformersEngine, items: list[Item]) -> dict[str, str]:
    """Each item's text."""
    cap = profile.execution.max_tokens
    prompts = {item.id: llm_alone_prompt(profile, engine.tokenizer, item.question, item.task).ids for item in items}
    generations = (GenerationRequest(name, ids, cap) for name, ids in prompts.items())
    return {done.request_id: done.text async for done in generate_batch(engine, generations, _BATCH)}


if __name__ == "__main__":
    main()
