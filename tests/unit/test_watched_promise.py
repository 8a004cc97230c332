"""A promise watched while it is served: bounds that hold at any time, and a policy that becomes stricter when it
must.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tandem.method.profile.profile import load_profile
from tandem.method.profile.watched_promise import Standing, lost_between, standing
from tandem.method.rule.strictness import by_steps
from tandem.paths import REPOSITORY
from tests.promise_course import DRIFT_AT, LENGTH, PROMISE, Courses, simulated

bounds = cache(lost_between)


def test_a_policy_that_loses_exactly_what_is_promised_becomes_stricter_in_five_of_a_hundred_runs_at_most() -> None:
    assert (simulated(0.05, 0.05, 1000).stricter < LENGTH).mean() <= 0.05


@pytest.mark.parametrize(("before", "after", "outcomes"), [(0.03, 0.1, 550), (0.02, 0.2, 150)])
def test_a_drift_makes_the_policy_stricter_soon_and_the_promise_is_broken_in_five_of_a_hundred_runs_at_most(
    before: float, after: float, outcomes: int
) -> None:
    runs = simulated(before, after, 1000)
    assert np.median(runs.stricter - DRIFT_AT) <= outcomes
    assert (runs.lost > PROMISE.lose_at_most * LENGTH).mean() <= 0.05


@pytest.mark.parametrize("burst", [1, 7, 40])
def test_in_whatever_traffic_the_first_step_comes_before_many_more_are_lost_than_promised(burst: int) -> None:
    """What is lost comes as late and as densely as the rule lets it, in bursts."""
    course, lost, outcomes = Courses(), 0, 0
    while outcomes < 3000:
        is_bold = lost + burst < 13 + 0.062 * outcomes
        for loss in [1.0] * burst if is_bold else [0.0]:
            if course.count(loss, PROMISE).any():
                return
            lost, outcomes = lost + int(loss), outcomes + 1
            assert lost <= 13 + 0.062 * outcomes
    pytest.fail("the policy never became stricter")


def test_bounds_hold_at_every_moment_also_while_the_share_changes() -> None:
    shares = np.where(np.arange(600) % 2, 0.1, 0.02)
    losses = np.random.default_rng(3).random((200, 600)) < shares
    moments = range(20, 601, 20)
    expected = {number: shares[:number].mean() for number in moments}
    edges = ((bounds(int(run[:n].sum()), n, 0.95), expected[n]) for run in losses for n in moments)
    is_missed = np.array([not low <= mean <= high for (low, high), mean in edges]).reshape(200, -1).any(axis=1)
    assert is_missed.mean() <= 0.1  # each of the two bounds has a confidence of 95 %


def test_too_few_outcomes_say_nothing() -> None:
    assert lost_between(0, 0, 0.95) == (0.0, pytest.approx(1.0))
    assert standing(PROMISE, 0, 20) is Standing.OPEN
    assert standing(PROMISE, 0, 200) is Standing.KEPT
    assert standing(PROMISE, 40, 200) is Standing.BROKEN


def test_a_score_counts_for_what_it_lacks() -> None:
    courses = Courses(2)
    for _ in range(40):
        courses.count([0.5, 0.0], PROMISE)
    assert courses.step[0] > 0
    assert courses.step[1] == 0


def test_the_last_step_is_the_large_model_alone() -> None:
    profile = load_profile("qwen2.5-coder-1.5b-0.5b", (REPOSITORY / "deploy/profiles",))
    steps = by_steps(profile, "code")
    assert steps[0] is profile
    assert [each.checks.code[0] for each in steps[1:-1]] == [f"python_examples:weight={n}" for n in (3, 4, 5, 6, 8, 10)]
    assert steps[-1].evidence("code") == "none: the large model answers"
    assert {each.digest for each in steps} == {profile.digest}
