"""What a promise's counts decide, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.method.promise.alarms import Block, Cusum
from tandem.method.promise.rule import ArmCounts, KindCounts, Terms
from tandem.method.promise.standing import Standing, decide, wants_labels

TERMS = Terms(0.03)
CLEAN = ArmCounts(taken=350, saved=300.0)
COUNTS = KindCounts((CLEAN, replace(CLEAN, taken=400, saved=350.0)), sampled=500, large=500.0, beside=50.0)


def what(standing: Standing) -> list[tuple[str, int | None]]:
    return [(each.what, each.arm) for each in decide(standing, TERMS)]


def test_arms_are_shown_in_order_and_the_one_that_saves_most_serves() -> None:
    assert what(Standing(COUNTS)) == [("shown", 0), ("shown", 1), ("serves", 1)]


def test_nothing_is_decided_twice() -> None:
    assert what(Standing(replace(COUNTS, shown=2), serving=1)) == []


def test_an_arm_that_does_not_pay_any_more_stops() -> None:
    poor = replace(COUNTS, shown=2, arms=tuple(replace(arm, saved=1.0) for arm in COUNTS.arms))
    assert what(Standing(poor, serving=1)) == [("stops", None)]


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (Standing(COUNTS, serving=1, cusum=Cusum(above=10.0)), "agree more often"),
        (Standing(COUNTS, serving=1, cusum=Cusum(below=10.0)), "agree less often"),
        (Standing(COUNTS, serving=1, blocks=(Block(50, 0, 12),)), "labels say"),
        (Standing(COUNTS, serving=1, blocks=(Block(50, 12, 0),)), "no label"),
    ],
)
def test_an_arm_is_closed_before_anything_else_and_says_why(standing: Standing, why: str) -> None:
    [decision] = decide(standing, TERMS)
    assert (decision.what, decision.arm) == ("closed", 1)
    assert why in decision.why


def test_nothing_is_closed_where_nothing_serves() -> None:
    assert what(Standing(COUNTS, cusum=Cusum(above=99.0)))[0] == ("shown", 0)


def test_labels_are_wanted_where_they_could_show_an_arm_or_keep_it() -> None:
    disputed = replace(COUNTS, arms=(replace(CLEAN, open=20), CLEAN))
    assert wants_labels(Standing(disputed), TERMS)
    assert not wants_labels(Standing(COUNTS), TERMS)
    served = Standing(replace(COUNTS, shown=2), serving=1, blocks=(Block(50, 9, 0),))
    assert wants_labels(served, TERMS)
    assert not wants_labels(replace(served, blocks=(Block(50, 2, 0),)), TERMS)


def test_the_usual_share_is_of_sampled_and_of_the_first_served_requests() -> None:
    assert Standing(COUNTS).usual_now == 0.0
    assert Standing(COUNTS, serving=1, usual=0.8, usual_of=500, served=500, answered=300).usual_now == pytest.approx(
        0.7
    )
    assert Standing(COUNTS).share_of(1) == pytest.approx(0.8)
