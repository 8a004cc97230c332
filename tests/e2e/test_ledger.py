"""The sum of the bills is what the engines counted when processes are killed under the requests; without kills
tests/integration/test_bills.py shows it. `make test` has kills in the campaign of faults (chaos/test_chaos.py), which
asks the same of every round.
"""

from __future__ import annotations

import pytest

from tests.e2e.ledger import Load, run

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]
_TOKENS_PER_WRITE = 2  # generated since the last write to the request log
_LONGEST_PROMPT = 250  # of the ledger's scripts, with the insight


def test_with_kills_only_what_a_discarded_attempt_had_not_logged_is_missing() -> None:
    load = Load(requests=32, seed=2)
    seen = run(load, kills=4)
    assert sum(seen.killed.values()) == 4
    assert seen.requests == 32
    lost_attempts = 4 * load.concurrent
    for name, missing in seen.difference.items():
        # A prefill and the answer's own prompt may both be lost with one process.
        most = _TOKENS_PER_WRITE if name.endswith("output") else 2 * _LONGEST_PROMPT
        assert 0 <= missing <= lost_attempts * most, (name, seen)
