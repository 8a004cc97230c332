"""What gateway, Temporal, Redis and gRPC add to a request: the same work with and without them, in turns.

The work is the test engine's: score the question and three stages, write 48 tokens, answer in 8. In one process the
same engine is called directly, writing and scoring at the same time as the system does.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import numpy as np
from rich.progress import track

from bench.common import local_stack, quantiles, report
from services.engine.api import GenerationRequest, Token
from services.sufficiency_scorer.scorer_inputs import ScorerInputs
from services.sufficiency_scorer.scorers import make_scorer
from tandem import AsyncClient
from tandem.method.profile import load_profile
from tandem.method.prompts import answer_prompt, insight_prompt
from tandem.paths import profile_folders
from tests.fakes import ScriptedEngine

_QUESTION = "[ms={ms} slm_eos=8] how?"
_STAGES = (16, 32, 48)


async def in_one_process(ms: float) -> float:
    """Milliseconds that the work takes by itself."""
    profile = load_profile("scripted", tuple(profile_folders()))
    llm, slm, scorer = (
        ScriptedEngine("scripted-llm"),
        ScriptedEngine("scripted-slm"),
        make_scorer("untrained", profile.folder),
    )
    question, started = _QUESTION.format(ms=ms), time.perf_counter()

    async def score(insight: str) -> float:
        prompt = answer_prompt(profile, slm.tokenizer, question, insight)
        scoring = await slm.score("key", prompt.ids)
        return scorer.score(ScorerInputs.of(scoring, prompt, 1 if insight else 0, question))

    await score("")
    text, scores = "", []
    async for item in llm.generate(GenerationRequest("llm", insight_prompt(profile, llm.tokenizer, question).ids, 48)):
        text += item.text
        if isinstance(item, Token) and len(text) in _STAGES:
            scores.append(asyncio.create_task(score(text)))
    await asyncio.gather(*scores)
    prompt = answer_prompt(profile, slm.tokenizer, question, text)
    async for _ in slm.generate(GenerationRequest("slm", prompt.ids, 64)):
        pass
    return (time.perf_counter() - started) * 1000


async def measure(runs: int, ms: float) -> dict[str, object]:
    alone, system = [], []
    with local_stack("scripted", scripted=True) as stack:
        async with AsyncClient(stack.gateway) as client:
            for number in track(range(runs + 5), description="pairs"):
                work = await in_one_process(ms)
                started = time.perf_counter()
                await client.ask(_QUESTION.format(ms=ms))
                whole = (time.perf_counter() - started) * 1000
                if number >= 5:
                    alone.append(work)
                    system.append(whole)
    added = (np.array(system) - np.array(alone)).tolist()
    return {"in_one_process_ms": quantiles(alone), "system_ms": quantiles(system), "added_ms": quantiles(added)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--ms", type=float, default=5, help="per token")
    options = arguments.parse_args()
    report("orchestration", asyncio.run(measure(options.runs, options.ms)))


if __name__ == "__main__":
    main()
