"""The facts: one line a published program. No program is here, since most sources have no licence (facts/README.md)."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lab.training.table import Bools, Floats

T = TypeVar("T", bound=np.generic)
FOLDER = Path(__file__).parent / "facts"
FIELDS = (
    "model", "task", "sample", "prompt_tokens", "answer_tokens", "example_weight", "passes_examples", "right",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Priced:
    """A model as a source names it, and what its tokens cost: USD a million, or billions of parameters for both."""

    model: str
    name: str
    read: float
    written: float


@dataclass(frozen=True, slots=True)
class RealPair:
    """`unit` is what the prices are in."""

    data: str
    small: Priced
    large: Priced
    unit: str

    @property
    def name(self) -> str:
        return f"{self.small.name} with {self.large.name}"


@dataclass(frozen=True)
class PairFacts:
    """n tasks, r runs of each: run i of the small model belongs to run i of the large one.

    `weight` float64[n] is what the prompt's examples count; 0: there are none. The others are [n, r]. Costs are in the
    pair's unit.
    """

    pair: RealPair
    weight: Floats
    passes: Bools
    small_right: Bools
    large_right: Bools
    small_cost: Floats
    large_cost: Floats

    @property
    def n(self) -> int:
        return len(self.weight)

    def one_run(self, generator: np.random.Generator) -> PairFacts:
        """One run of each task, drawn at random: runs of one task are not independent, tasks are."""
        run = generator.integers(0, self.passes.shape[1], (self.n, 1))

        def drawn(array: NDArray[T]) -> NDArray[T]:
            return np.take_along_axis(array, run, axis=1)

        return replace(
            self,
            passes=drawn(self.passes),
            small_right=drawn(self.small_right),
            large_right=drawn(self.large_right),
            small_cost=drawn(self.small_cost),
            large_cost=drawn(self.large_cost),
        )


_HAIKU, _MINI, _GPT_35, _GPT_4 = "Claude 3 Haiku", "GPT-4o mini", "GPT-3.5", "GPT-4"


def _usd(model: str, name: str) -> Priced:
    """By LiteLLM's price file; GPT-3.5 and GPT-4 as listed in 2023."""
    prices = {
        _MINI: (0.15, 0.60), "GPT-4o": (2.50, 10), "GPT-4 Turbo": (10, 30), _GPT_4: (30, 60), _GPT_35: (1.5, 2),
        _HAIKU: (0.25, 1.25), "Claude Sonnet 4": (3, 15), "Claude Opus 4": (15, 75),
    }  # fmt: skip
    return Priced(model, name, *prices[name])


def _compute(model: str, name: str, billions: float) -> Priced:
    return Priced(model, name, billions, billions)


def _usd_pair(data: str, small: tuple[str, str], large: tuple[str, str]) -> RealPair:
    return RealPair(data, _usd(*small), _usd(*large), "USD")


_HUMANEVAL, _LEETCODE = "humaneval", "livecodebench_leetcode"
_CODESTRAL = _compute("jueh/codestral_22b", "Codestral 22B", 22.2)
_DEEPSEEK = _compute("jueh/deepseek-coder_6.7b", "DeepSeek-Coder 6.7B", 6.7)
_QWEN_32B = _compute("jueh/qwen2.5-coder_32b", "Qwen2.5-Coder 32B", 32.5)
_J_MINI, _J_HAIKU = ("jueh/gpt-4o-mini-2024-07-18", _MINI), ("jueh/claude-3-haiku-20240307", _HAIKU)
_J_OPUS, _L_OPUS = ("jueh/claude-opus-4-20250514", "Claude Opus 4"), ("Claude-Opus-4", "Claude Opus 4")
_L_MINI = "GPT-4O-mini-2024-07-18", _MINI

PAIRS = (
    _usd_pair(_HUMANEVAL, _J_MINI, ("jueh/gpt-4o-2024-08-06", "GPT-4o")),
    _usd_pair(_HUMANEVAL, ("murdza/gpt-3.5-turbo", _GPT_35), ("murdza/gpt-4", _GPT_4)),
    RealPair(_HUMANEVAL, _CODESTRAL, _compute("jueh/llama3.3_70b", "Llama 3.3 70B", 70.6), "compute"),
    RealPair(_HUMANEVAL, _CODESTRAL, _compute("jueh/mistral-large_123b", "Mistral Large 123B", 123), "compute"),
    RealPair(_HUMANEVAL, _DEEPSEEK, _QWEN_32B, "compute"),
    _usd_pair(_HUMANEVAL, _J_MINI, _J_OPUS),
    _usd_pair(_HUMANEVAL, _J_HAIKU, ("jueh/claude-sonnet-4-20250514", "Claude Sonnet 4")),
    _usd_pair(_HUMANEVAL, _J_HAIKU, _J_OPUS),
    _usd_pair(_LEETCODE, _L_MINI, ("GPT-4O-2024-08-06", "GPT-4o")),
    RealPair(
        _LEETCODE,
        _compute("Qwen2.5-Coder-Ins-7B", "Qwen2.5-Coder 7B", 7.6),
        _compute("Qwen2.5-Coder-Ins-32B", "Qwen2.5-Coder 32B", 32.5),
        "compute",
    ),
    _usd_pair(_LEETCODE, _L_MINI, _L_OPUS),
    _usd_pair(_LEETCODE, ("Claude-3-Haiku", _HAIKU), _L_OPUS),
)
"""By benchmark, and there by how far the two are apart."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One program. `passes` is False where it was not run against the examples."""

    prompt_tokens: int
    answer_tokens: int
    weight: int
    passes: bool
    right: bool


Programs = dict[tuple[str, int], Fact]
"""The programs of one model, by task and run."""


@cache
def read_facts(data: str) -> dict[str, Programs]:
    """By model."""
    found: dict[str, Programs] = defaultdict(dict)
    with (FOLDER / f"{data}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["model"]][row["task"], int(row["sample"])] = Fact(
                int(row["prompt_tokens"]),
                int(row["answer_tokens"]),
                int(row["example_weight"]),
                row["passes_examples"] == "1",
                row["right"] == "1",
            )
    return found


def facts_of(pair: RealPair) -> PairFacts:
    """Of the tasks that both models answered in every run."""
    facts = read_facts(pair.data)
    small, large = facts[pair.small.model], facts[pair.large.model]
    runs = sorted({run for _, run in small})
    tasks = [task for task in dict.fromkeys(t for t, _ in small) if all((task, r) in large for r in runs)]
    mine = [[small[task, run] for run in runs] for task in tasks]
    theirs = [[large[task, run] for run in runs] for task in tasks]
    return PairFacts(
        pair,
        weight=np.array([float(row[0].weight) for row in mine]),
        passes=np.array([[fact.passes for fact in row] for row in mine]),
        small_right=np.array([[fact.right for fact in row] for row in mine]),
        large_right=np.array([[fact.right for fact in row] for row in theirs]),
        small_cost=_costs(mine, pair.small),
        large_cost=_costs(theirs, pair.large),
    )


def _costs(rows: list[list[Fact]], priced: Priced) -> Floats:
    return np.array([[f.prompt_tokens * priced.read + f.answer_tokens * priced.written for f in row] for row in rows])
