"""What gateway, Temporal, Redis and gRPC add to a request: the same work with and without them, in turns.

`python -m bench.orchestration`. The test engine does the work: score the question and three stages, generate 48 tokens of
insight, answer in 8. In one process the same engine is called directly, generating and scoring concurrently as the system
does.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import numpy as np
from rich.progress import track

from bench.common import Figures, quantiles, report
from services.engine.api import GenerationRequest, Token
from services.sufficiency_scorer.scorer_inputs import ScorerInputs
from services.sufficiency_scorer.scorers import make_scorer
from tandem import AsyncClient
from tandem.method.profile import Profile, load_profile
from tandem.method.prompts import answer_prompt, insight_prompt
from tests.fakes import ScriptedEngine
from tests.stacks import SCRIPTED_PROFILES, scripted_stack

_WARM_UP = 5
_STAGES = (16, 32, 48)  # tokens, as the scripted profile has them
_ANSWER_TOKENS = 64


class _InOneProcess:
    """The work of a request without the system."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._scorer = make_scorer("untrained", profile.folder)
        self._llm, self._slm = ScriptedEngine("scripted-llm"), ScriptedEngine("scripted-slm")

    async def solve(self, question: str) -> None:
        await self._score(question, "")
        text = await self._generate_and_score(question)
        prompt = answer_prompt(self._profile, self._slm.tokenizer, question, text)
        async for _ in self._slm.generate(GenerationRequest("slm", prompt.ids, _ANSWER_TOKENS)):
            pass

    async def _generate_and_score(self, question: str) -> str:
        text, scores = "", []
        prompt = insight_prompt(self._profile, self._llm.tokenizer, question)
        async for item in self._llm.generate(GenerationRequest("llm", prompt.ids, _STAGES[-1])):
            text += item.text
            if isinstance(item, Token) and len(text) in _STAGES:
                scores.append(asyncio.create_task(self._score(question, text)))
        await asyncio.gather(*scores)
        return text

    async def _score(self, question: str, insight: str) -> float:
        prompt = answer_prompt(self._profile, self._slm.tokenizer, question, insight)
        scores = await self._slm.score("key", prompt.ids)
        return self._scorer.score(ScorerInputs.of(scores, prompt, 1 if insight else 0, question))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--ms", type=float, default=5, help="per token of the test engine")
    options = arguments.parse_args()
    report("orchestration", asyncio.run(_measure(options.runs, f"[ms={options.ms} slm_eos=8] how?")))


async def _measure(runs: int, question: str) -> Figures:
    profile = load_profile("scripted", (SCRIPTED_PROFILES,))
    alone, system = [], []
    with scripted_stack() as stack:
        async with AsyncClient(stack.gateway) as client:
            for _ in track(range(_WARM_UP + runs), description="pairs"):
                in_one_process = _InOneProcess(profile)
                started = time.perf_counter()
                await in_one_process.solve(question)
                between = time.perf_counter()
                await client.ask(question)
                alone.append(1000 * (between - started))
                system.append(1000 * (time.perf_counter() - between))
    del alone[:_WARM_UP], system[:_WARM_UP]
    added = (np.array(system) - np.array(alone)).tolist()
    return {"in_one_process_ms": quantiles(alone), "system_ms": quantiles(system), "added_ms": quantiles(added)}


if __name__ == "__main__":
    main()
