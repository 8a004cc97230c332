"""Time from the stop to the first token of the answer, with and without prefill by the small model before the stop.

`python -m lab.bench.ahead`, on the default pair's small model, both variants in turns on the same prompts. The stop falls after
the third stage. With prefill, the question and two stages have been prefilled by then.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass, field

import numpy as np
from rich.progress import track

from lab.bench.common import Figures, default_profile, local_engine, quantiles, report, synthetic_insights
from lab.training.datasets import load
from lab.training.metrics import ratio_of_means
from services.engine.api import Engine, GenerationRequest, Token
from services.engine.batch import generate
from tandem.method.profile import Profile
from tandem.method.prompts import answer_prompt


@dataclass(slots=True)
class _Measured:
    """Milliseconds to the first token and for the next one; prompt tokens that were computed after the stop."""

    first_token_ms: list[float] = field(default_factory=list)
    decode_step_ms: list[float] = field(default_factory=list)
    prefilled: int = 0


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=30)
    report("ahead", asyncio.run(_measure(arguments.parse_args().runs)))


async def _measure(runs: int) -> Figures:
    profile = default_profile()
    with local_engine(profile.slm) as engine:
        return _figures(await _compare(profile, engine, runs), runs)


async def _compare(profile: Profile, engine: Engine, runs: int) -> dict[str, _Measured]:
    insights = synthetic_insights(profile, engine)
    measured = {"ahead": _Measured(), "cold": _Measured()}
    for number, item in enumerate(track(load("math_train").sample(runs, 1).items, description="questions")):
        before, last = (answer_prompt(profile, engine.tokenizer, item.question, i).ids for i in insights[-2:])
        # Cold first, because it must not find the other's prefilled prompt in the cache.
        await _first_token(engine, GenerationRequest(f"{number}/cold", last, 2), measured["cold"])
        await generate(engine, GenerationRequest(f"{number}/ahead", before, 0))
        await _first_token(engine, GenerationRequest(f"{number}/ahead", last, 2), measured["ahead"])
    return measured


async def _first_token(engine: Engine, request: GenerationRequest, measured: _Measured) -> None:
    started, generated_at = time.time(), []
    async for item in engine.generate(request):
        if isinstance(item, Token):
            generated_at.append(item.generated_at)
            measured.prefilled += item.prompt_computed or 0
    measured.first_token_ms.append(1000 * (generated_at[0] - started))
    measured.decode_step_ms.append(1000 * (generated_at[-1] - generated_at[0]))


def _figures(measured: dict[str, _Measured], runs: int) -> Figures:
    ahead, cold = measured["ahead"], measured["cold"]
    return {
        "first_token_ms": {name: quantiles(each.first_token_ms) for name, each in measured.items()},
        "decode_step_ms": quantiles(cold.decode_step_ms + ahead.decode_step_ms),
        "prompt_tokens_read_after_the_stop": {name: each.prefilled / runs for name, each in measured.items()},
        "time_ratio": vars(ratio_of_means(np.array(ahead.first_token_ms), np.array(cold.first_token_ms))),
    }


if __name__ == "__main__":
    main()
