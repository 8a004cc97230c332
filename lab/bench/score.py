"""What incremental scoring saves: passes that continue from the stage before, against passes from scratch, at four stages.

`python -m lab.bench.score`, on the default pair's small model, both variants in turns on the same prompts of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass, field

import numpy as np
import psutil
from rich.progress import track

from lab.bench.common import Figures, default_profile, local_engine, quantiles, report, synthetic_insights
from lab.training.datasets import load
from lab.training.metrics import ratio_of_means
from services.engine.api import Engine
from tandem.method.profile import Profile
from tandem.method.prompts import answer_prompt


@dataclass(slots=True)
class _Passes:
    """Seconds for all stages of a question, one entry per question; tokens that were computed in all."""

    seconds: list[float] = field(default_factory=list)
    tokens: int = 0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=20)
    report("score", asyncio.run(_measure(arguments.parse_args().runs)))


async def _measure(runs: int) -> Figures:
    profile = default_profile()
    with local_engine(profile.slm, "transformers", compiled=False) as engine:  # as the scorer runs it
        passes = await _compare(profile, engine, runs)
        memory = psutil.Process().memory_info().rss
    return {"stages": len(profile.stages) + 1, **_figures(passes), "memory_gb": memory / 1e9}


async def _compare(profile: Profile, engine: Engine, runs: int) -> dict[str, _Passes]:
    insights = synthetic_insights(profile, engine)
    passes = {"incremental": _Passes(), "afresh": _Passes()}
    for number, item in enumerate(track(load("math_train").sample(runs, 1).items, description="questions")):
        prompts = [answer_prompt(profile, engine.tokenizer, item.question, insight).ids for insight in insights]
        for name, each in passes.items():
            started = time.perf_counter()
            for stage, prompt in enumerate(prompts):
                # The engine continues from the last prompt of the same key.
                key = f"{number}" if name == "incremental" else f"{number}/{stage}"
                each.tokens += (await engine.score(key, prompt)).usage.prompt
            each.seconds.append(time.perf_counter() - started)
    return passes


def _figures(passes: dict[str, _Passes]) -> Figures:
    incremental, afresh = passes["incremental"], passes["afresh"]
    return {
        "milliseconds": {name: quantiles([1000 * s for s in each.seconds]) for name, each in passes.items()},
        "tokens": {name: each.tokens for name, each in passes.items()},
        "time_ratio": vars(ratio_of_means(np.array(incremental.seconds), np.array(afresh.seconds))),
        "flops_ratio": incremental.tokens / afresh.tokens,
    }


if __name__ == "__main__":
    main()
