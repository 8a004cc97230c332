"""A promise is shown by evidence that chance seldom gives, and learning costs no more than its share."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.method.promise.rule import (
    CREDIT,
    LEAST_SAMPLED,
    PATIENCE,
    ArmCounts,
    KindCounts,
    Terms,
    bound,
    evidence,
    label_decides,
    learns_with,
    level,
    serving,
    shown,
    watches_with,
)

TERMS = Terms(0.03)
sampled_and_lost = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n // 5)))
shares = st.floats(0.005, 0.2)


def counted(*arms: ArmCounts, sampled: int = 200, **more: float) -> KindCounts:
    return replace(KindCounts(arms, sampled, large=float(sampled), beside=0.1 * sampled), **more)


@given(sampled_and_lost, shares)
def test_one_more_request_changes_nothing_on_average_where_exactly_the_promised_share_is_lost(
    seen: tuple[int, int], share: float
) -> None:
    """So the evidence exceeds x by chance in one of x streams at most (Ville), whenever one looks."""
    n, lost = seen
    after = share * evidence(n + 1, lost + 1, share) + (1 - share) * evidence(n + 1, lost, share)
    assert math.isclose(after, evidence(n, lost, share), rel_tol=1e-9)


@given(sampled_and_lost, shares)
def test_a_loss_weakens_the_evidence_and_a_request_that_loses_nothing_strengthens_it(
    seen: tuple[int, int], share: float
) -> None:
    n, lost = seen
    assert evidence(n, lost + 1, share) < evidence(n, lost, share) < evidence(n + 1, lost, share)


@given(
    st.integers(LEAST_SAMPLED, 2000),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=3),
)
def test_no_label_takes_back_what_is_shown(sampled: int, arms: list[tuple[int, int]]) -> None:
    counts = counted(*(ArmCounts(sampled, is_open, lost) for is_open, lost in arms), sampled=sampled)
    for number, arm in enumerate(counts.arms):
        if arm.open:
            for is_lost in (0, 1):
                labelled = replace(arm, open=arm.open - 1, lost=arm.lost + is_lost)
                after = replace(counts, arms=(*counts.arms[:number], labelled, *counts.arms[number + 1 :]))
                assert shown(after, TERMS) >= shown(counts, TERMS)


def test_nothing_is_shown_before_the_least_number_of_sampled_requests() -> None:
    generous = Terms(0.3)
    counts = counted(ArmCounts(), sampled=LEAST_SAMPLED - 1)
    assert shown(counts, generous) == 0
    assert shown(replace(counts, sampled=LEAST_SAMPLED), generous) == 1


def test_an_arm_is_looked_at_once_those_before_it_are_shown() -> None:
    lossy, clean = ArmCounts(200, lost=20), ArmCounts(200)
    assert shown(counted(lossy, clean), TERMS) == 0
    assert shown(counted(clean, lossy), TERMS) == 1
    assert shown(counted(clean, clean), TERMS) == 2


def test_what_was_shown_stays_shown() -> None:
    assert shown(counted(ArmCounts(200, lost=50), shown=1), TERMS) == 1


def test_kinds_share_the_error_and_one_that_is_done_leaves_its_share_to_the_others() -> None:
    of_four = replace(TERMS, kinds=4)
    assert level(counted(), of_four) == 4 * level(counted(), TERMS)
    assert level(counted(done=3), of_four) == level(counted(), TERMS)
    assert level(counted(done=9), of_four) == level(counted(), TERMS)


def test_all_beginnings_together_may_err_no_more_than_the_terms_say() -> None:
    errors = [1 / level(counted(offs=offs), TERMS) for offs in range(60)]
    assert sum(errors) == pytest.approx(1 - TERMS.confidence)


@given(sampled_and_lost)
def test_the_bound_lies_above_what_was_seen_and_is_where_the_evidence_reaches_the_level(seen: tuple[int, int]) -> None:
    n, lost = seen
    enough = level(counted(), TERMS)
    most = bound(n, lost, enough)
    assert lost / n < most <= 1
    if most < 1:
        assert evidence(n, lost, most + 1e-9) >= enough > evidence(n, lost, most - 1e-6)


def test_the_bound_falls_with_requests_that_lose_nothing() -> None:
    bounds = [bound(n, 0, level(counted(), TERMS)) for n in (10, 50, 150, 500)]
    assert bounds == sorted(bounds, reverse=True)
    assert bounds[2] < 0.03 < bounds[1]


def test_the_shown_arm_that_saves_most_serves() -> None:
    arms = (ArmCounts(200, saved=40), ArmCounts(200, saved=90), ArmCounts(200, saved=120))
    assert serving(counted(*arms, shown=2), TERMS) == 1
    assert serving(counted(*arms, shown=3), TERMS) == 2


def test_no_arm_serves_that_saves_less_than_it_takes_to_watch_it() -> None:
    assert serving(counted(ArmCounts(200, saved=10), shown=1), TERMS) is None
    assert serving(counted(ArmCounts(200, saved=200), shown=0), TERMS) is None


def test_labels_are_requested_only_where_they_could_show_an_arm() -> None:
    assert label_decides(counted(ArmCounts(200, open=10)), TERMS) == 0
    assert label_decides(counted(ArmCounts(200, open=10, lost=30)), TERMS) is None  # too many are lost already
    assert label_decides(counted(ArmCounts(200, open=0)), TERMS) is None
    assert label_decides(counted(ArmCounts(200, open=10), sampled=20), TERMS) is None  # too few requests
    assert label_decides(counted(ArmCounts(200, open=10), shown=1), TERMS) is None  # it is shown


def test_a_kind_begins_by_a_credit_and_goes_on_with_its_share_of_the_spend() -> None:
    saves = ArmCounts(1, saved=0.5)
    assert learns_with(KindCounts((saves,)), TERMS) == 1.0
    within = KindCounts((replace(saves, saved=100),), 200, large=200.0, beside=CREDIT - 1)
    assert learns_with(within, TERMS) == 1.0
    beyond = replace(within, beside=200 * 0.5)  # the cheap models cost half of a large answer
    assert learns_with(beyond, TERMS) == pytest.approx(TERMS.learn / 0.5)


def test_a_kind_that_shows_nothing_for_long_is_learned_less() -> None:
    counts = KindCounts((ArmCounts(900, saved=500),), PATIENCE, large=1000.0, beside=500.0)
    assert learns_with(counts, TERMS) == pytest.approx(
        0.1 * learns_with(replace(counts, sampled=999, large=999.0), TERMS), rel=0.01
    )


def test_a_kind_whose_arms_do_not_pay_is_learned_no_longer() -> None:
    assert learns_with(counted(ArmCounts(200, saved=1), ArmCounts(200, saved=-3)), TERMS) == 0.0


@given(st.integers(0, 500), st.floats(-50, 500))
def test_a_share_of_what_an_arm_serves_is_always_watched(taken: int, saved: float) -> None:
    chance = watches_with(counted(ArmCounts(taken, saved=saved), sampled=500, shown=1), TERMS, 0)
    assert 0.01 <= chance <= 0.5
