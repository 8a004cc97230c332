"""What a quantization or an engine costs in accuracy: the same GSM8K questions, greedy, on several engines.

`python -m bench.accuracy --model llm`. The first engine is the baseline. llama.cpp runs the 4-bit file as it is, or what its own
quantizer makes of it (`make peers`); transformers runs what was converted from it (`make compiled`). `bench.engine` measures speeds.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.progress import track

from bench.common import Figures, default_profile, local_engine, must_be_compiled, report
from bench.peers import requantized
from services.engine.api import Engine, GenerationRequest
from services.engine.batch import generate_batch
from tandem.method.profile import Model, Profile
from tandem.method.prompts import llm_alone_prompt
from tandem.paths import models_folder
from training.datasets import Item, load
from training.grading import grade
from training.metrics import accuracy, difference_of_means, mcnemar

_BATCH = 20
_COMPILED, _Q8 = "int8-compiled", "llamacpp-q8_0"
_ENGINES: dict[str, dict[str, Any]] = {
    "bfloat16": {"spec": "transformers", "quantization": "none"},
    "int8": {"spec": "transformers", "quantization": "int8", "compiled": False},
    _COMPILED: {"spec": "transformers", "quantization": "int8"},
    "llamacpp": {"spec": "llamacpp"},
    _Q8: {"spec": "llamacpp"},
}


@dataclass(frozen=True, slots=True)
class _Graded:
    """One entry per question."""

    right: list[bool] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--questions", type=int, default=100)
    arguments.add_argument("--model", choices=["llm", "slm"], default="slm", help="of the default pair")
    arguments.add_argument(
        "--engines", nargs="+", choices=list(_ENGINES), default=["bfloat16", "int8", "llamacpp", _Q8]
    )
    options = arguments.parse_args()
    profile = default_profile()
    items = list(load("gsm8k").sample(options.questions, 0).items)
    model = getattr(profile, options.model)
    figures = asyncio.run(_measure(profile, model, items, options.engines))
    report(f"accuracy-{options.model}", figures)


async def _measure(profile: Profile, model: Model, items: list[Item], names: list[str]) -> Figures:
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(local_engine(model, max_batch=_BATCH, **_settings(model, name))) for name in names
        }
        if _COMPILED in engines:
            must_be_compiled(engines[_COMPILED])
        graded = await _grade(profile, model, engines, items)
    return {"model": model.name, "n": len(items), **_figures(graded)}


def _settings(model: Model, name: str) -> dict[str, Any]:
    path = {"path": requantized(models_folder() / model.name, "Q8_0")} if name == _Q8 else {}
    return _ENGINES[name] | path


async def _grade(profile: Profile, model: Model, engines: dict[str, Engine], items: list[Item]) -> dict[str, _Graded]:
    graded = {name: _Graded() for name in engines}
    for begin in track(range(0, len(items), _BATCH), description=model.name):
        batch = items[begin : begin + _BATCH]
        for name, engine in engines.items():
            texts = await _answer(profile, engine, batch)
            for item in batch:
                grading = grade(item, texts[item.id], "")
                graded[name].right.append(grading.is_right)
                graded[name].answers.append(grading.answer)
                graded[name].texts.append(texts[item.id])
    return graded


async def _answer(profile: Profile, engine: Engine, items: list[Item]) -> dict[str, str]:
    """The generated text by the item's id."""
    max_tokens = profile.execution.max_tokens
    prompts = {item.id: llm_alone_prompt(profile, engine.tokenizer, item.question, item.task).ids for item in items}
    requests = (GenerationRequest(name, ids, max_tokens) for name, ids in prompts.items())
    return {done.request_id: done.text async for done in generate_batch(engine, requests, _BATCH)}


def _figures(graded: dict[str, _Graded]) -> Figures:
    [(baseline_name, baseline), *others] = graded.items()
    return {
        "accuracy": {name: vars(accuracy(np.array(each.right))) for name, each in graded.items()},
        f"against_{baseline_name}": {
            name: {
                "mcnemar_p": mcnemar(np.array(each.right), np.array(baseline.right)),
                "same_answer": _share(each.answers, baseline.answers),
                "same_text": _share(each.texts, baseline.texts),
                "accuracy_less_its": vars(difference_of_means(np.array(each.right), np.array(baseline.right))),
            }
            for name, each in others
        },
    }


def _share(ours: list[str], theirs: list[str]) -> float:
    return float(np.mean([a == b for a, b in zip(ours, theirs, strict=True)]))


if __name__ == "__main__":
    main()
