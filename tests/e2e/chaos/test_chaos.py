"""A short campaign of faults (tests/e2e/chaos). `make chaos` is the long one."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.e2e.chaos import faults, traffic
from tests.e2e.chaos.campaign import Load, run_on_stacks

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
_LOAD, _ROUNDS, _STACKS = Load(requests=6, most_faults=4, seed=2792), 46, 2
_ALWAYS = (5, 6, 9, 32, 34, 39)
"""The fewest rounds that have every kind of fault between them."""
_NIGHTLY = tuple(number for number in range(_ROUNDS) if number not in _ALWAYS)


@pytest.mark.parametrize(
    "numbers", [_ALWAYS, pytest.param(_NIGHTLY, marks=pytest.mark.nightly)], ids=["every kind", "all others"]
)
def test_requests_end_and_bills_are_exact_whatever_strikes(numbers: Sequence[int]) -> None:
    rounds = []
    for each in run_on_stacks(_LOAD, numbers, _STACKS):
        print(each, flush=True)
        rounds.append(each)
    assert len(rounds) == len(numbers)
    options = f"--requests {_LOAD.requests} --faults {_LOAD.most_faults} --seed {_LOAD.seed}"
    assert not [f"python -m lab.bench.chaos {options} --only {each.number}\n{each}" for each in rounds if each.defects]


def test_the_rounds_of_every_run_have_every_kind_of_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_can_strike", lambda _: True)
    struck = set[str]()
    for number in _ALWAYS:
        dice = random.Random(f"{_LOAD.seed}/{number}")
        traffic.draw(dice, _LOAD.requests, f"chaos-{_LOAD.seed}-{number}")
        struck |= {fault.kind for fault in faults.draw(dice, _LOAD.most_faults)}
    assert struck == set(faults.KINDS)
