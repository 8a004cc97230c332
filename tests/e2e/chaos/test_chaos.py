"""A short campaign of faults (tests/e2e/chaos). `make chaos` is the long one."""

from __future__ import annotations

import pytest

from tests.e2e.chaos.campaign import Load, run_on_stacks

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
_LOAD, _ROUNDS, _STACKS = Load(requests=6, most_faults=4, seed=2792), 46, 2


@pytest.mark.parametrize("numbers", [range(12), pytest.param(range(12, _ROUNDS), marks=pytest.mark.nightly)])
def test_requests_end_and_bills_are_exact_whatever_strikes(numbers: range) -> None:
    rounds = []
    for each in run_on_stacks(_LOAD, numbers, _STACKS):
        print(each, flush=True)
        rounds.append(each)
    assert len(rounds) == len(numbers)
    options = f"--requests {_LOAD.requests} --faults {_LOAD.most_faults} --seed {_LOAD.seed}"
    assert not [f"python -m lab.bench.chaos {options} --only {each.number}\n{each}" for each in rounds if each.defects]
