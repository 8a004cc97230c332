"""Seconds to a call: `python -m lab.bench.time_to_call`, the default pair on the local stack.

Conversations of three questions about the same tools (several functions of the leaderboard's training tasks), each
after the result of the call before, are asked in two ways that take turns: the small model tries first, and the large
model alone. Each way is a tenant, so neither reads what the other has cached. Calls come whole, at the end of their
stream, so a request's end is the time to its call.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import track

from lab.bench.common import Figures, report
from lab.calls.tasks import CallTask, load
from lab.collecting import in_order_of_chance
from lab.training.metrics import ratio_of_means
from tandem import Client
from tandem.client.tools import calls_as_data
from tandem.local.layout import engine_name
from tandem.method.rule.stop_rule import NEVER
from tandem.paths import DEFAULT_PROFILE
from tandem.v1 import tandem_pb2
from tests.stacks import started_stack

_CATEGORY, _TURNS = "live_multiple", 3
_WAYS = ("small_first", "large_alone")
_RESULT = '{"status": "ok"}'


@dataclass(frozen=True, slots=True)
class _Turn:
    """One answer. `read` and `cached`: prompt tokens of both models that were computed, and that were not."""

    seconds: float
    calls: bool
    by_small: bool
    read: int
    cached: int


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--conversations", type=int, default=15)
    arguments.add_argument(
        "--threshold", type=float, default=0.82, help="of the small model's calls; default: %(default)s"
    )
    options = arguments.parse_args()
    turns: dict[str, list[list[_Turn]]] = {way: [] for way in _WAYS}
    thresholds = {"small_first": options.threshold, "large_alone": NEVER}
    with started_stack(DEFAULT_PROFILE, {}) as stack, Client(stack.gateway) as client:
        for number, tasks in enumerate(track(_conversations(options.conversations), description="conversations")):
            for way in _WAYS if number % 2 else reversed(_WAYS):
                turns[way].append(_talk(client, tasks, way, thresholds[way]))
    report("time-to-call", {"engine": engine_name(), "threshold": options.threshold, **_figures(turns)})


def _conversations(count: int) -> list[list[CallTask]]:
    by_tools: dict[str, list[CallTask]] = defaultdict(list)
    for task in in_order_of_chance(load("train").items):
        if task.category == _CATEGORY:
            by_tools[json.dumps(task.functions)].append(task)
    return [tasks[:_TURNS] for tasks in by_tools.values() if len(tasks) >= _TURNS][:count]


def _talk(client: Client, tasks: Sequence[CallTask], tenant: str, threshold: float) -> list[_Turn]:
    said: list[dict[str, Any]] = []
    tools = [
        {"name": tool.name, "description": tool.description, "parameters": json.loads(tool.parameters)}
        for tool in tasks[0].tools.tools
    ]
    turns = []
    for task in tasks:
        messages = [each for each in task.messages if not said or each.speaker != "system"]
        said += [{"role": message.speaker, "content": message.text} for message in messages]
        started = time.perf_counter()
        result = client.ask(said, tools=tools, tenant=tenant, threshold=threshold)
        turns.append(_turn(result, time.perf_counter() - started))
        said.append({"role": "assistant", "content": result.answer, "tool_calls": calls_as_data(result.tool_calls)})
        said += [{"role": "tool", "tool_call_id": call.id, "content": _RESULT} for call in result.tool_calls]
    return turns


def _turn(result: tandem_pb2.SolveResult, seconds: float) -> _Turn:
    used = [result.usage.llm, result.usage.slm]
    return _Turn(
        seconds,
        bool(result.tool_calls),
        result.answered_by == tandem_pb2.ROLE_SLM,
        sum(each.input_tokens for each in used),
        sum(each.cached_input_tokens for each in used),
    )


def _figures(turns: Mapping[str, Sequence[Sequence[_Turn]]]) -> Figures:
    chosen = {"first": slice(0, 1), "later": slice(1, None)}
    return {
        name: _compared({way: [t for talk in turns[way] for t in talk[part]] for way in _WAYS})
        for name, part in chosen.items()
    }


def _compared(turns: Mapping[str, Sequence[_Turn]]) -> Figures:
    seconds = {way: np.array([turn.seconds for turn in turns[way]]) for way in _WAYS}
    return {way: _summary(turns[way]) for way in _WAYS} | {
        "small_first_to_large_alone": vars(ratio_of_means(seconds["small_first"], seconds["large_alone"]))
    }


def _summary(turns: Sequence[_Turn]) -> Figures:
    p50, p95 = np.percentile([turn.seconds for turn in turns], [50, 95])
    return {
        "n": len(turns),
        "p50_s": round(float(p50), 2),
        "p95_s": round(float(p95), 2),
        "with_calls": sum(turn.calls for turn in turns),
        "by_the_small_model": sum(turn.by_small for turn in turns),
        "prompt_tokens": sum(turn.read for turn in turns),
        "of_which_cached": sum(turn.cached for turn in turns),
    }


if __name__ == "__main__":
    main()
