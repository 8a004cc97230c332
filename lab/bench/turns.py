"""The second turn of a conversation: what each model computes of its prompt, and when the first token comes.

`python -m lab.bench.turns`, on the default pair in our engine, through a local stack. *cached* is the second turn of a conversation
whose first turn was answered a moment ago. *cold* is the same second turn behind another system message of the same length,
which nobody has asked before: as many tokens, none of them cached but those that every chat begins with. Each model answers
alone, so that neither waits for the other.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rich.progress import track

from lab.bench.common import Figures, quantiles, report
from lab.training.datasets import load
from lab.training.metrics import bootstrap, ratio_of_means
from lab.training.table import Floats
from tandem import AnswerDelta, Client, Completed, InsightDelta
from tandem.paths import DEFAULT_PROFILE
from tandem.v1 import tandem_pb2
from tests.stacks import started_stack

Role = Literal["llm", "slm"]
Messages = list[dict[str, str]]
# No scorer was trained on chats: the large model answers them, unless a threshold says that the question alone suffices.
_THRESHOLDS: dict[Role, float | None] = {"llm": None, "slm": 0.0}
_FIRST = "What does this function have to do, and which inputs are easy to get wrong?\n\n```python\n{function}```"
_SECOND = "Which of these inputs would you test first? Answer in one sentence."
_FIRST_TOKENS, _SECOND_TOKENS = 96, 4


@dataclass(frozen=True, slots=True)
class _Turn:
    """Prompt tokens, and milliseconds from the call to the first piece of text."""

    computed: int
    cached: int
    first_token_ms: float
    answer: str


@dataclass(frozen=True, slots=True)
class _Pair:
    cached: _Turn
    cold: _Turn


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--conversations", type=int, default=10)
    options = arguments.parse_args()
    with started_stack(DEFAULT_PROFILE, {"TANDEM_ENGINE": "transformers"}) as stack, Client(stack.gateway) as client:
        measured = {role: _measure(client, role, options.conversations) for role in _THRESHOLDS}
    command = " ".join(["python -m lab.bench.turns", *sys.argv[1:]])
    report("turns", {"command": command, **{role: _figures(pairs) for role, pairs in measured.items()}})


def _measure(client: Client, role: Role, conversations: int) -> list[_Pair]:
    functions = [item.question for item in load("humaneval").sample(conversations + 1, 0).items]
    pairs = [
        _pair(client, role, number, function) for number, function in enumerate(track(functions, description=role))
    ]
    return pairs[1:]  # the first one warms up


def _pair(client: Client, role: Role, number: int, function: str) -> _Pair:
    first = [_system("A", number), {"role": "user", "content": _FIRST.format(function=function)}]
    said = _ask(client, role, first, _FIRST_TOKENS).answer
    second: Messages = [*first[1:], {"role": "assistant", "content": said}, {"role": "user", "content": _SECOND}]
    # In turns, so that nothing that comes with time is one way's alone.
    systems = ("A", "B") if number % 2 else ("B", "A")
    turns = {name: _ask(client, role, [_system(name, number), *second], _SECOND_TOKENS) for name in systems}
    cached, cold = turns["A"], turns["B"]
    if cached.computed + cached.cached != cold.computed + cold.cached:
        raise SystemExit(f"the prompts differ in length: {cached} and {cold}")
    return _Pair(cached, cold)


def _system(name: str, number: int) -> dict[str, str]:
    return {"role": "system", "content": f"{name}{number:02}. You help programmers."}


def _ask(client: Client, role: Role, messages: Messages, tokens: int) -> _Turn:
    """Raises SystemExit where the other model wrote as well."""
    began, first = time.perf_counter(), 0.0
    for event in client.solve(messages, max_answer_tokens=tokens, threshold=_THRESHOLDS[role]):
        if isinstance(event, InsightDelta | AnswerDelta):
            first = first or time.perf_counter()
        if isinstance(event, Completed):
            usage = getattr(event.result.usage, role)
            if event.result.usage.llm.output_tokens and event.result.usage.slm.output_tokens:
                raise SystemExit(f"both models answered: {_reason(event.result)}")
            return _Turn(usage.input_tokens, usage.cached_input_tokens, 1000 * (first - began), event.result.answer)
    raise SystemExit("the stream ended without a result")


def _reason(result: tandem_pb2.SolveResult) -> str:
    return tandem_pb2.StopReason.Name(result.stop.reason)


def _figures(pairs: list[_Pair]) -> Figures:
    cached = np.array([pair.cached.first_token_ms for pair in pairs])
    cold = np.array([pair.cold.first_token_ms for pair in pairs])
    return {
        "prompt_tokens": float(np.mean([pair.cold.computed + pair.cold.cached for pair in pairs])),
        "computed_tokens": {
            "cached": float(np.mean([pair.cached.computed for pair in pairs])),
            "cold": float(np.mean([pair.cold.computed for pair in pairs])),
        },
        "first_token_ms": {"cached": quantiles(list(cached)), "cold": quantiles(list(cold))},
        "mean_first_token_ms": {"cached": _mean(cached), "cold": _mean(cold)},
        "first_token_ratio": vars(ratio_of_means(cached, cold)),
        "each": [
            {
                "computed": [pair.cached.computed, pair.cold.computed],
                "cached": [pair.cached.cached, pair.cold.cached],
                "first_token_ms": [round(pair.cached.first_token_ms, 1), round(pair.cold.first_token_ms, 1)],
            }
            for pair in pairs
        ],
    }


def _mean(values: Floats) -> Figures:
    """With its 95 % interval, by bootstrap over the conversations."""
    return vars(bootstrap(lambda rows: float(values[rows].mean()), len(values)))


if __name__ == "__main__":
    main()
