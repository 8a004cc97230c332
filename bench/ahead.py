"""From the stop to the first token of the answer, with and without the small model having read ahead.

`python -m bench.ahead` on the default pair's small model, both ways in turn on the same prompts: the stop falls after the
third stage; who reads ahead has read the question and two stages by then.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import numpy as np
from rich.progress import track

from bench.common import model_engine, quantiles, report
from bench.score import insights_of
from services.engine.api import Engine, GenerationRequest, Token
from services.engine.batch import generate
from tandem.method.profile import Profile, load_profile
from tandem.method.prompts import answer_prompt
from tandem.paths import DEFAULT_PROFILE, profile_folders
from training.datasets import load
from training.metrics import ratio_of_means


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=30)
    report("ahead", asyncio.run(_measure(arguments.parse_args().runs)))


async def _measure(runs: int) -> dict[str, Any]:
    profile = load_profile(DEFAULT_PROFILE, tuple(profile_folders()))
    with model_engine(profile.slm) as engine:
        return await _compare(profile, engine, runs)


async def _compare(profile: Profile, engine: Engine, runs: int) -> dict[str, Any]:
    insights = insights_of(profile, engine)
    first: dict[str, list[float]] = {"ahead": [], "cold": []}
    steps, read = [], {"ahead": 0, "cold": 0}
    for number, item in enumerate(track(load("math_train").sample(runs, 1).items, description="questions")):
        before, last = (answer_prompt(profile, engine.tokenizer, item.question, i).ids for i in insights[-2:])
        # Cold first: what was read ahead would be found again.
        for way in ("cold", "ahead"):
            if way == "ahead":
                await generate(engine, GenerationRequest(f"{number}/ahead", before, 0))
            milliseconds, step, tokens = await _first_token(engine, GenerationRequest(f"{number}/{way}", last, 2))
            first[way].append(milliseconds)
            steps.append(step)
            read[way] += tokens
    ratio = ratio_of_means(np.array(first["ahead"]), np.array(first["cold"]))
    return {
        "first_token_ms": {way: quantiles(each) for way, each in first.items()},
        "decode_step_ms": quantiles(steps),
        "prompt_tokens_read_after_the_stop": {way: tokens / runs for way, tokens in read.items()},
        "time_ratio": vars(ratio),
    }


async def _first_token(engine: Engine, generation: GenerationRequest) -> tuple[float, float, int]:
    """Milliseconds to the first token and from there to the second; tokens of the prompt that were read."""
    started, made, read = time.time(), [], 0
    async for item in engine.generate(generation):
        if isinstance(item, Token):
            made.append(item.generated_at)
            read += item.prompt_computed or 0
    return 1000 * (made[0] - started), 1000 * (made[-1] - made[0]), read


if __name__ == "__main__":
    main()
