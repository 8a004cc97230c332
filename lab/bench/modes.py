"""Time to a checked answer when the small model tries first, and when the large one writes meanwhile: `python -m lab.bench.modes`.

The same functions of HumanEval, in rounds, to the default pair in both modes. Each mode of a round has a stack of its own, which
has answered one other task before; the modes take turns in being first.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from rich.progress import track

from lab.bench.common import Figures, default_profile, quantiles, report
from lab.training.datasets import Item, load
from lab.training.metrics import ratio_of_means
from services.checks.registry import applies
from tandem import Client
from tandem.local.layout import engine_name
from tandem.local.supervisor import Stack
from tandem.method.profile import Profile
from tandem.method.trial_plan import TrialMode
from tandem.paths import DEFAULT_PROFILE, profile_folders
from tandem.v1 import tandem_pb2
from tests.stacks import started_stack

MODES: tuple[TrialMode, ...] = get_args(TrialMode)


@dataclass(frozen=True, slots=True)
class _Answered:
    """`seconds` from the question to the result; `usd` and `llm_tokens` (written, overrun included) are from the bill."""

    task: str
    seconds: float
    passed: bool
    usd: float
    llm_tokens: int


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tasks", type=int, default=30)
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    warm_up, *items = _checked_items(default_profile(), 1 + options.tasks)
    answered: dict[TrialMode, list[_Answered]] = {mode: [] for mode in MODES}
    for number in range(options.rounds):
        for mode in MODES if number % 2 == 0 else MODES[::-1]:
            with _stack(mode) as stack:
                answered[mode] += _ask(stack, mode, warm_up, items[number :: options.rounds])
    report("modes", {"engine": engine_name(), **_figures(answered)})


def _checked_items(profile: Profile, count: int) -> list[Item]:
    """Tasks that the profile's checks apply to, drawn at random."""
    items = load("humaneval").sample(10**6, 1).items
    has_check = [
        item for item in items if any(applies(spec, item.question, "code") for spec in profile.checks.of("code"))
    ]
    return has_check[:count]


@contextmanager
def _stack(mode: TrialMode) -> Iterator[Stack]:
    """A stack of the default pair, whose profile has this mode."""
    with tempfile.TemporaryDirectory(prefix="tandem-profiles-") as folder:
        copied = Path(folder) / DEFAULT_PROFILE
        shutil.copytree(profile_folders()[0] / DEFAULT_PROFILE, copied)
        file = copied / "profile.toml"
        text = file.read_text()
        file.write_text(text.replace('mode = "sequential"', f'mode = "{mode}"'))
        with started_stack(DEFAULT_PROFILE, {"TANDEM_PROFILES_PATH": folder}) as stack:
            yield stack


def _ask(stack: Stack, mode: TrialMode, warm_up: Item, items: Sequence[Item]) -> list[_Answered]:
    with Client(stack.gateway) as client:
        client.ask(warm_up.question, task="code")
        return [_answer(client, item) for item in track(items, description=mode)]


def _answer(client: Client, item: Item) -> _Answered:
    started = time.perf_counter()
    result = client.ask(item.question, task="code")
    llm = result.usage.llm
    return _Answered(
        item.id,
        time.perf_counter() - started,
        result.stop.reason == tandem_pb2.STOP_REASON_VERIFIED,
        result.cost.usd,
        llm.output_tokens + llm.overrun_tokens + llm.discarded_tokens,
    )


def _figures(answered: dict[TrialMode, list[_Answered]]) -> Figures:
    first, second = (sorted(answered[mode], key=lambda each: each.task) for mode in MODES)
    ratio = ratio_of_means(_seconds(second), _seconds(first))
    both_passed = np.array([a.passed and b.passed for a, b in zip(first, second, strict=True)])
    return {
        **{mode: _of_mode(answered[mode]) for mode in MODES},
        "seconds_overlapped_to_sequential": str(ratio),
        "where_a_try_passed": str(ratio_of_means(_seconds(second)[both_passed], _seconds(first)[both_passed])),
        "where_none_did": str(ratio_of_means(_seconds(second)[~both_passed], _seconds(first)[~both_passed])),
        "usd_overlapped_to_sequential": str(ratio_of_means(_usd(second), _usd(first))),
    }


def _of_mode(answered: Sequence[_Answered]) -> Figures:
    return {
        "n": len(answered),
        "passed": sum(each.passed for each in answered),
        "seconds": {**quantiles(list(_seconds(answered))), "p95": float(np.quantile(_seconds(answered), 0.95))},
        "usd": float(_usd(answered).sum()),
        "llm_tokens": sum(each.llm_tokens for each in answered),
    }


def _seconds(answered: Sequence[_Answered]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([each.seconds for each in answered])


def _usd(answered: Sequence[_Answered]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([each.usd for each in answered])


if __name__ == "__main__":
    main()
