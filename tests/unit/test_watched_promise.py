"""A promise watched while it is served: bounds that hold at any time, and a policy that becomes stricter when it
must.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from tandem.method.profile.profile import load_profile
from tandem.method.profile.watched_promise import Standing, Watched, lost_between, standing
from tandem.method.rule.strictness import by_steps
from tandem.paths import REPOSITORY
from tests.promise_course import Course

RUNS, LENGTH, DRIFT_AT = 200, 4000, 1000
PROMISE = Watched("code", "checks", "made", lose_at_most=0.05, confidence=0.95, steps=6)


@dataclass
class Run:
    """`stricter`: after how many outcomes, and how many were lost by then."""

    lost: int = 0
    stricter: list[tuple[int, int]] = field(default_factory=list)


def simulated(seed: int, before: float, after: float) -> Run:
    """The share that is lost changes at DRIFT_AT; each step halves it, and at the last one the large model answers."""
    generator, course, run = random.Random(seed), Course(), Run()
    for number in range(LENGTH):
        share = (before if number < DRIFT_AT else after) / 2**course.step if course.step < PROMISE.steps else 0.0
        loss = float(generator.random() < share)
        run.lost += int(loss)
        if course.count(loss, PROMISE):
            run.stricter.append((number + 1, run.lost))
    return run


def test_a_policy_that_loses_exactly_what_is_promised_becomes_stricter_in_five_of_a_hundred_runs_at_most() -> None:
    runs = [simulated(seed, 0.05, 0.05) for seed in range(RUNS)]
    assert sum(bool(run.stricter) for run in runs) <= 0.05 * RUNS


@pytest.mark.parametrize(("before", "after", "outcomes"), [(0.03, 0.08, 1300), (0.02, 0.2, 150)])
def test_a_drift_makes_the_policy_stricter_soon_and_the_promise_is_broken_in_five_of_a_hundred_runs_at_most(
    before: float, after: float, outcomes: int
) -> None:
    runs = [simulated(seed, before, after) for seed in range(RUNS)]
    needed = sorted(run.stricter[0][0] - DRIFT_AT if run.stricter else LENGTH for run in runs)
    assert needed[RUNS // 2] <= outcomes
    assert sum(run.lost > PROMISE.lose_at_most * LENGTH for run in runs) <= 0.05 * RUNS


@pytest.mark.parametrize("burst", [1, 7, 40])
def test_in_whatever_traffic_the_first_step_comes_before_many_more_are_lost_than_promised(burst: int) -> None:
    """What is lost comes as late and as densely as the rule lets it, in bursts."""
    course, lost, outcomes = Course(), 0, 0
    while outcomes < 3000:
        is_bold = lost + burst < 13 + 0.062 * outcomes
        for loss in [1.0] * burst if is_bold else [0.0]:
            if course.count(loss, PROMISE):
                return
            lost, outcomes = lost + int(loss), outcomes + 1
            assert lost <= 13 + 0.062 * outcomes
    pytest.fail("the policy never became stricter")


def test_bounds_hold_at_every_moment_also_while_the_share_changes() -> None:
    missed = 0
    for seed in range(RUNS):
        generator, lost, expected, is_missed = random.Random(seed), 0.0, 0.0, False
        for number in range(1, 601):
            share = 0.02 if number % 2 else 0.1
            lost, expected = lost + (generator.random() < share), expected + share
            if number % 20 == 0:
                low, high = lost_between(lost, number, 0.95)
                is_missed |= not low <= expected / number <= high
        missed += is_missed
    assert missed <= 0.1 * RUNS  # each of the two bounds has a confidence of 95 %


def test_too_few_outcomes_say_nothing() -> None:
    assert lost_between(0, 0, 0.95) == (0.0, pytest.approx(1.0))
    assert standing(PROMISE, 0, 20) is Standing.OPEN
    assert standing(PROMISE, 0, 200) is Standing.KEPT
    assert standing(PROMISE, 40, 200) is Standing.BROKEN


def test_a_score_counts_for_what_it_lacks() -> None:
    halves, wholes = Course(), Course()
    for _ in range(40):
        halves.count(0.5, PROMISE)
        wholes.count(0.0, PROMISE)
    assert halves.step > 0
    assert wholes.step == 0


def test_the_last_step_is_the_large_model_alone() -> None:
    profile = load_profile("qwen2.5-coder-1.5b-0.5b", (REPOSITORY / "deploy/profiles",))
    steps = by_steps(profile, "code")
    assert steps[0] is profile
    assert [each.checks.code[0] for each in steps[1:-1]] == [f"python_examples:weight={n}" for n in (3, 4, 5, 6, 8, 10)]
    assert steps[-1].evidence("code") == "none: the large model answers"
    assert {each.digest for each in steps} == {profile.digest}
