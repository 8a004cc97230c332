"""A short campaign of faults (tests/e2e/chaos): `python -m bench.chaos` is the long one."""

from __future__ import annotations

import pytest

from tests.e2e.chaos.campaign import Load, run

pytestmark = pytest.mark.timeout(1800)
_LOAD, _ROUNDS = Load(requests=4, most_faults=4, seed=2792), 9


def test_requests_end_and_bills_are_exact_whatever_strikes() -> None:
    rounds = []
    for each in run(_LOAD, range(_ROUNDS)):
        print(each, flush=True)
        rounds.append(each)
    assert sum(len(each.faults) for each in rounds) >= 25
    options = f"--requests {_LOAD.requests} --faults {_LOAD.most_faults} --seed {_LOAD.seed}"
    assert not [f"python -m bench.chaos {options} --only {each.number}\n{each}" for each in rounds if each.defects]
