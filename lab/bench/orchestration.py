"""What gateway, Temporal, Redis and gRPC add to a request: the same work with and without them, in turns.

`python -m lab.bench.orchestration`. The test engine does the work: score the question and three stages, generate 48
tokens of insight, answer in 8. In one process the same engine is called directly, generating and scoring concurrently
as the system does. `sequential` scores the bare question before the large model starts, `overlapped` while it writes.
In `trial` the small model tries alone, in 8 tokens, and a check passes its answer. The three take turns too.
`actions` are what Temporal Cloud bills a request by, without heartbeats, which no history has
(docs.temporal.io/cloud/actions).
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from temporalio.client import Client

from lab.bench.common import Figures, quantiles, report
from lab.bench.request_load import ACTIONS
from lab.training.metrics import Interval, bootstrap
from services.models.engine.api import GenerationRequest, Token
from services.sufficiency_scorer.scorer_inputs import ScorerInputs
from services.sufficiency_scorer.scorers import make_scorer
from tandem import AsyncClient
from tandem.local.supervisor import Stack
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.prompts import answer_prompt, insight_prompt
from tandem.method.request.request import SolveRequest
from tandem.v1 import tandem_pb2
from tests.fakes import ScriptedEngine
from tests.stacks import SCRIPTED_PROFILES, scripted_stack

_WARM_UP = 5
_STAGES = (16, 32, 48)  # tokens, as the scripted profile has them
_ANSWER_TOKENS = 64
_COUNTED = 20
_MODES = {"sequential": "scripted", "overlapped": "scripted", "trial": "scripted-checked"}
"""The profile that each is made of."""
_SMALL_ANSWERS = "yes,yes"


class _InOneProcess:
    """The work of a request without the system."""

    def __init__(self, profile: Profile) -> None:
        self._profile, self._mode = profile, profile.name
        self._scorer = make_scorer("untrained", profile.folder)
        self._llm, self._slm = ScriptedEngine("scripted-llm"), ScriptedEngine("scripted-slm")

    async def solve(self, question: str) -> None:
        if self._mode == "trial":
            await self._answer(question, "")
            return
        if self._mode == "overlapped":
            _, text = await asyncio.gather(self._score(question, ""), self._generate_and_score(question))
        else:
            await self._score(question, "")
            text = await self._generate_and_score(question)
        await self._answer(question, text)

    async def _answer(self, question: str, text: str) -> None:
        prompt = answer_prompt(self._profile, SolveRequest("", question), text).encoded(self._slm.tokenizer)
        async for _ in self._slm.generate(GenerationRequest("slm", prompt.ids, _ANSWER_TOKENS)):
            pass

    async def _generate_and_score(self, question: str) -> str:
        text, scores = "", []
        prompt = insight_prompt(self._profile, SolveRequest("", question)).encoded(self._llm.tokenizer)
        async for item in self._llm.generate(GenerationRequest("llm", prompt.ids, _STAGES[-1])):
            text += item.text
            if isinstance(item, Token) and len(text) in _STAGES:
                scores.append(asyncio.create_task(self._score(question, text)))
        await asyncio.gather(*scores)
        return text

    async def _score(self, question: str, insight: str) -> float:
        prompt = answer_prompt(self._profile, SolveRequest("", question), insight).encoded(self._slm.tokenizer)
        scores = await self._slm.score("key", prompt.ids)
        return self._scorer.score(ScorerInputs.of(scores, prompt, 1 if insight else 0, question))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--ms", type=float, default=5, help="per token of the test engine")
    options = arguments.parse_args()
    report(
        "orchestration", asyncio.run(_measure(options.runs, f"[ms={options.ms} slm={_SMALL_ANSWERS} slm_eos=8] how?"))
    )


async def _measure(runs: int, question: str) -> Figures:
    pairs: dict[str, list[tuple[float, float]]] = {mode: [] for mode in _MODES}
    async with AsyncExitStack() as systems:
        profiles = systems.enter_context(_profiles())
        loaded = {mode: load_profile(mode, (profiles,)) for mode in _MODES}
        stacks = {mode: systems.enter_context(_stack(profiles, mode)) for mode in _MODES}
        clients = {mode: await systems.enter_async_context(AsyncClient(each.gateway)) for mode, each in stacks.items()}
        for _ in track(range(_WARM_UP + runs), description="pairs"):
            for mode, client in clients.items():
                pairs[mode].append(await _pair(loaded[mode], client, question))
        actions = {mode: await _actions(stack) for mode, stack in stacks.items()}
    figures = {mode: _figures(np.array(each[_WARM_UP:])) | {"actions": actions[mode]} for mode, each in pairs.items()}
    return figures | {"overlapped_less_sequential_added_ms": vars(_difference(pairs))}


@contextmanager
def _profiles() -> Iterator[Path]:
    """A folder with a profile for each mode."""
    with tempfile.TemporaryDirectory(prefix="tandem-profiles-") as folder:
        for mode, source in _MODES.items():
            text = (SCRIPTED_PROFILES / source / "profile.toml").read_text()
            text = text.replace(f'name = "{source}"', f'name = "{mode}"', 1)
            made = Path(folder) / mode / "profile.toml"
            made.parent.mkdir()
            made.write_text(text + (f'\n[trial]\nmode = "{mode}"\n' if mode != "trial" else ""))
        yield Path(folder)


def _stack(profiles: Path, mode: str) -> AbstractContextManager[Stack]:
    return scripted_stack({"TANDEM_PROFILES_PATH": str(profiles)}, profile=mode)


async def _actions(stack: Stack) -> float:
    """Mean of the last requests."""
    client, found = await Client.connect(stack.address("temporal")), []
    async for execution in client.list_workflows(limit=_COUNTED):
        history = await client.get_workflow_handle(execution.id).fetch_history()
        found.append(sum(event.event_type in ACTIONS for event in history.events))
    return float(np.mean(found))


async def _pair(profile: Profile, client: AsyncClient, question: str) -> tuple[float, float]:
    """Milliseconds in one process, and by the system."""
    in_one_process = _InOneProcess(profile)
    started = time.perf_counter()
    await in_one_process.solve(question)
    between = time.perf_counter()
    result = await client.ask(question, checks=[f"choice:{_SMALL_ANSWERS}"] if profile.name == "trial" else [])
    assert (result.stop.reason == tandem_pb2.STOP_REASON_VERIFIED) == (profile.name == "trial")
    return 1000 * (between - started), 1000 * (time.perf_counter() - between)


def _figures(pairs: NDArray[np.float64]) -> Figures:
    """`pairs` is float64[n, 2], milliseconds in one process and by the system."""
    columns = {"in_one_process_ms": pairs[:, 0], "system_ms": pairs[:, 1], "added_ms": pairs[:, 1] - pairs[:, 0]}
    return {name: quantiles(values.tolist()) for name, values in columns.items()}


def _difference(pairs: Mapping[str, list[tuple[float, float]]]) -> Interval:
    """Of the medians of what is added."""
    sequential, overlapped = (np.diff(np.array(pairs[mode][_WARM_UP:]))[:, 0] for mode in ("sequential", "overlapped"))
    return bootstrap(lambda rows: float(np.median(overlapped[rows]) - np.median(sequential[rows])), len(sequential))


if __name__ == "__main__":
    main()
