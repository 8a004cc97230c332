"""What it saves that a scoring pass reads on from the stage before: incremental against afresh, at four stages.

`python -m bench.score` on the default pair's small model; both ways in turn on the same prompts of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import numpy as np
import psutil
from rich.progress import track

from bench.common import model_engine, quantiles, report
from services.engine.api import Engine
from tandem.method.profile import Profile, load_profile
from tandem.method.prompts import answer_prompt
from tandem.paths import DEFAULT_PROFILE, profile_folders
from training.datasets import load
from training.metrics import ratio_of_means

_INSIGHT = (
    "To solve this problem, we need to follow these steps:\n\n1. Find what is given and what is asked.\n2. Write down "
    "each quantity with its unit.\n3. Work out the first intermediate result.\n4. Use it for the second one.\n5. Put them "
    "together and check the answer.\n\nLet us begin with the first step. "
) * 6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=20)
    options = arguments.parse_args()
    report("score", asyncio.run(_measure(options.runs)))


def insights_of(profile: Profile, engine: Engine) -> list[str]:
    """A made-up insight up to the end of each stage; none for stage 0."""
    ids = engine.tokenizer.encode(_INSIGHT)
    return ["", *(engine.tokenizer.decode(ids[: stage.max_tokens]) for stage in profile.stages)]


async def _measure(runs: int) -> dict[str, Any]:
    profile = load_profile(DEFAULT_PROFILE, tuple(profile_folders()))
    with model_engine(profile.slm, compiled=False) as engine:  # as the scorer runs it
        return await _compare(profile, engine, runs)


async def _compare(profile: Profile, engine: Engine, runs: int) -> dict[str, Any]:
    insights = insights_of(profile, engine)
    found: dict[str, list[tuple[float, int]]] = {"incremental": [], "afresh": []}
    for number, item in enumerate(track(load("math_train").sample(runs, 1).items, description="questions")):
        prompts = [answer_prompt(profile, engine.tokenizer, item.question, insight).ids for insight in insights]
        for way, passes in found.items():
            started, tokens = time.perf_counter(), 0
            for stage, prompt in enumerate(prompts):
                key = f"{number}" if way == "incremental" else f"{number}/{stage}"
                tokens += (await engine.score(key, prompt)).usage.prompt
            passes.append((time.perf_counter() - started, tokens))
    memory = psutil.Process().memory_info().rss
    seconds = {way: [s for s, _ in passes] for way, passes in found.items()}
    tokens_read = {way: sum(t for _, t in passes) for way, passes in found.items()}
    ratio = ratio_of_means(np.array(seconds["incremental"]), np.array(seconds["afresh"]))
    return {
        "stages": len(insights),
        "milliseconds": {way: quantiles([1000 * s for s in each]) for way, each in seconds.items()},
        "tokens": tokens_read,
        "time_ratio": vars(ratio),
        "flops_ratio": tokens_read["incremental"] / tokens_read["afresh"],
        "memory_gb": memory / 1e9,
    }


if __name__ == "__main__":
    main()
