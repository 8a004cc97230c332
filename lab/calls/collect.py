"""Collects what both models of a pair write in tasks with tools, and how likely each token was. An interrupted run is
resumed.

python -m lab.calls.collect train --out lab/calls/collected/train.jsonl

Prompts, grammar and reading are those of serving, with the choice `auto`. A line of the file is a task that both models
have done; the file beside it says what the answers were made with.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from lab.calls.tasks import CallTask, CallTasks, load
from lab.collecting import append_each, in_order_of_chance, keep_origin, whole_lines
from services.models.engine.api import CacheUse, Engine, EngineError, GenerationRequest
from services.models.engine.batch import generate
from services.models.engine.registry import running_engine
from services.models.engine.tool_grammar import tool_grammar
from tandem.method.conversation import split_conversation
from tandem.method.profile.profile import Profile, load_profile
from tandem.method.request.prompts import answer_prompt, llm_alone_prompt
from tandem.method.tokens import GREEDY, Sampling
from tandem.paths import DEFAULT_PROFILE, models_folder, profile_folders

_ENGINE = "llamacpp"
_WIDTH = 3  # so that both models work at once; more streams write no faster
_MAX_TOKENS, _KV_TOKENS = 512, 1 << 14
_SAMPLES, _TEMPERATURE = 2, 0.8


@dataclass(frozen=True, slots=True)
class Written:
    """One answer. `sample` 0 is greedy. `tokens` are the texts of the tokens with the stop token's, empty, and
    `logprobs` how likely each was before any constraint, in nats. `error` names what the engine refused instead.
    """

    role: Literal["llm", "slm"]
    sample: int = 0
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    prompt_tokens: int = 0
    reason: str = ""
    error: str = ""


class CallCollector:
    def __init__(self, profile: Profile, llm: Engine, slm: Engine) -> None:
        self._profile, self._llm, self._slm = profile, llm, slm

    async def line(self, task: CallTask) -> dict[str, Any]:
        return {
            "id": task.id,
            "category": task.category,
            "written": [asdict(each) for each in await self._written(task)],
        }

    async def _written(self, task: CallTask) -> list[Written]:
        history, question = split_conversation(task.messages)
        small = answer_prompt(self._profile, question, "", "chat", history=history, tools=task.tools).encoded(
            self._slm.tokenizer
        )
        large = llm_alone_prompt(self._profile, question, "chat", history=history, tools=task.tools).encoded(
            self._llm.tokenizer
        )
        of_small, of_large = await asyncio.gather(self._small(task, small.ids), self._write(task, "llm", large.ids))
        return [*of_small, of_large]

    async def _small(self, task: CallTask, ids: tuple[int, ...]) -> list[Written]:
        """One after the other, so that the samples read the prompt from the cache."""
        return [await self._write(task, "slm", ids, sample) for sample in range(1 + _SAMPLES)]

    async def _write(
        self, task: CallTask, role: Literal["llm", "slm"], ids: tuple[int, ...], sample: int = 0
    ) -> Written:
        engine = self._llm if role == "llm" else self._slm
        request = GenerationRequest(
            request_id=f"{task.id}/{role}/{sample}",
            prompt_ids=ids,
            max_new_tokens=_MAX_TOKENS,
            sampling=Sampling(_TEMPERATURE, seed=sample) if sample else GREEDY,
            held_to=tool_grammar(engine.tokenizer.calls, task.tools),
            wants_logprobs=True,
            cache=CacheUse(is_kept=True),  # the samples read the prompt once
        )
        try:
            done = await generate(engine, request)
        except EngineError as error:
            return Written(role, sample, prompt_tokens=len(ids), error=f"{error.reason}: {error}")
        chances = (float("nan") if token.logprob is None else round(token.logprob, 4) for token in done.tokens)
        return Written(
            role,
            sample,
            done.text,
            tuple(engine.tokenizer.calls.read(done.text, task.tools.schemas)[1]),
            tuple(token.text for token in done.tokens),
            tuple(chances),
            len(ids),
            str(done.reason),
        )


async def collect(tasks: CallTasks, profile: Profile, llm: Engine, slm: Engine, out: Path) -> None:
    """Append a line to `out` for each task that it lacks, as it is done."""
    done = done_in(out)
    missing = [task for task in in_order_of_chance(tasks.items) if task.id not in done]
    await append_each(out, missing, CallCollector(profile, llm, slm).line, _WIDTH, len(done))


def done_in(out: Path) -> set[str]:
    """Ids of the tasks that the file has."""
    return {json.loads(line)["id"] for line in whole_lines(out)}


def origin_of(tasks: CallTasks, profile: Profile, models: Path) -> dict[str, Any]:
    marks = {model.name: models / model.name / "tandem.json" for model in (profile.llm, profile.slm)}
    return {
        "command": " ".join(["python -m lab.calls.collect", *sys.argv[1:]]),
        "tasks_sha256": tasks.sha256,
        "pair": profile.name,
        "prompt": profile.prompts.plain("chat"),
        "system": profile.prompts.system,
        "models": {name: json.loads(mark.read_text()) if mark.is_file() else None for name, mark in marks.items()},
        "engine": _ENGINE,
        "versions": {name: version(name) for name in ("xllamacpp", "llguidance")},
        "samples": {"count": _SAMPLES, "temperature": _TEMPERATURE, "seeds": list(range(1, _SAMPLES + 1))},
        "max_tokens": _MAX_TOKENS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", help="train, test, or a file of such lines")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--profile", default=DEFAULT_PROFILE)
    parser.add_argument("--threads", type=int, default=2, help="processor threads of each of the two models")
    given = parser.parse_args()
    profile = load_profile(given.profile, tuple(profile_folders()))
    run(load(given.tasks), profile, given.out, given.threads)


def run(tasks: CallTasks, profile: Profile, out: Path, threads: int = 2) -> None:
    """Collect with both models. Raises StoreError where `out` was made with others."""
    models = models_folder()
    keep_origin(origin_of(tasks, profile, models), out)
    with ExitStack() as engines:
        llm, slm = (
            engines.enter_context(
                running_engine(
                    _ENGINE,
                    {
                        "path": models / model.name,
                        "name": model.name,
                        "threads": threads,
                        "max_batch": _WIDTH,
                        "kv_cache_tokens": _KV_TOKENS,
                    },
                )
            )
            for model in (profile.llm, profile.slm)
        )
        asyncio.run(collect(tasks, profile, llm, slm, out))


if __name__ == "__main__":
    main()
