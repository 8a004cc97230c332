"""A short campaign of faults (tests/e2e/chaos): `make chaos-short`. `python -m bench.chaos` is the long one."""

from __future__ import annotations

import os

import pytest

from tests.e2e.chaos.campaign import Load, run

pytestmark = [
    pytest.mark.timeout(1800),
    # Not part of `make test`: 3 of 7 runs passed on a machine that other work kept busy.
    pytest.mark.skipif("TANDEM_CHAOS" not in os.environ, reason="`make chaos-short` runs it"),
]
_LOAD, _ROUNDS = Load(requests=4, most_faults=4, seed=2792), 9


def test_requests_end_and_bills_are_exact_whatever_strikes() -> None:
    rounds = []
    for each in run(_LOAD, range(_ROUNDS)):
        print(each, flush=True)
        rounds.append(each)
    assert sum(len(each.faults) for each in rounds) >= 25
    options = f"--requests {_LOAD.requests} --faults {_LOAD.most_faults} --seed {_LOAD.seed}"
    assert not [f"python -m bench.chaos {options} --only {each.number}\n{each}" for each in rounds if each.defects]
