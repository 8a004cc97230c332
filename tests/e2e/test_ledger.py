"""The sum of the bills is what the engines made, also when processes are killed under the requests."""

from __future__ import annotations

from argparse import Namespace

import pytest

from bench.ledger import run

pytestmark = pytest.mark.timeout(150)


def test_without_kills_bills_and_engines_agree_to_the_token(environment: None) -> None:
    seen = run(Namespace(requests=24, concurrent=8, seed=1), kills=0)
    assert sum(seen["engines"].values()) > 1000
    assert set(seen["difference"].values()) == {0}


def test_with_kills_only_what_a_lost_attempt_had_not_logged_is_missing(environment: None) -> None:
    options = Namespace(requests=32, concurrent=8, seed=2)
    seen = run(options, kills=4)
    assert sum(seen["killed"].values()) >= 2
    # Each kill may take what each running request had made since its last write: a token or two.
    most = sum(seen["killed"].values()) * options.concurrent * 2
    for name, missing in seen["difference"].items():
        assert 0 <= missing <= most or name.endswith(("input", "scored")), (name, seen)
