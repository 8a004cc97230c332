"""What closes an arm that serves: losses beyond the promise, or another share of requests on which the models agree."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.method.promise.alarms import ALARM, BLOCK, MOVES, Block, Cusum, drift

PROMISED = 0.03


def alarm(*blocks: Block, open_is_lost: bool = False) -> float:
    return drift(blocks, PROMISED, open_is_lost=open_is_lost)


def requests_until_closed(rng: random.Random, share: float, usual: float, most: int) -> int:
    cusum = Cusum()
    for number in range(1, most + 1):
        cusum = cusum.after(rng.random() < share, usual)
        if cusum.closes:
            return number
    return most + 1


def test_losses_as_promised_raise_no_alarm_and_three_times_as_many_do() -> None:
    as_promised = [Block(BLOCK, lost=number % 2 + 1) for number in range(60)]
    assert alarm(*as_promised) < ALARM
    assert alarm(*as_promised, *[Block(BLOCK, lost=5)] * 8) >= ALARM


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20))
def test_a_dispute_weighs_less_once_a_label_calls_it_harmless(lost: list[int]) -> None:
    disputed = [Block(BLOCK, open=number) for number in lost]
    assert alarm(*disputed, open_is_lost=True) == alarm(*(Block(BLOCK, lost=number) for number in lost))
    assert alarm(*disputed) <= alarm(*disputed, open_is_lost=True)


def test_the_alarm_forgets_a_good_beginning() -> None:
    """The sum is over all moments at which more may have been lost, so what went before does not hide it."""
    bad = [Block(BLOCK, lost=6)] * 6
    assert alarm(*[Block(BLOCK)] * 200, *bad) == pytest.approx(alarm(*bad), rel=0.5)


def test_the_alarm_stays_finite_whatever_is_lost() -> None:
    assert alarm(*[Block(BLOCK, lost=BLOCK)] * 100) < float("inf")


@pytest.mark.parametrize("usual", [0.3, 0.6, 0.8])
def test_a_change_of_agreement_by_twice_the_step_is_seen_within_a_hundred_requests(usual: float) -> None:
    rng = random.Random(1)
    seen = [requests_until_closed(rng, usual - 2 * MOVES, usual, 2000) for _ in range(100)]
    assert median(seen) <= 100


@pytest.mark.parametrize("usual", [0.3, 0.6, 0.8])
def test_agreement_that_stays_as_it_was_seldom_closes(usual: float) -> None:
    rng = random.Random(1)
    assert sum(requests_until_closed(rng, usual, usual, 2000) <= 2000 for _ in range(100)) <= 15


def test_shares_of_nothing_and_of_everything_are_followed_too() -> None:
    for usual, share in ((0.0, 1.0), (1.0, 0.0)):
        assert requests_until_closed(random.Random(1), share, usual, 2000) <= 20
        assert requests_until_closed(random.Random(1), usual, usual, 2000) > 2000
