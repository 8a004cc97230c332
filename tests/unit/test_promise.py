"""The bound on lost questions: exact, for every policy that is accepted, and honest where there are too few
questions.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from lab.training.looks import Looks, at_look
from lab.training.promise import Promise, most_lost, num_accepted, questions_needed, upper_bound


def test_the_bound_is_the_share_at_which_so_few_losses_are_as_rare_as_the_confidence_says() -> None:
    from scipy.stats import binom

    assert upper_bound(0, 82, 0.95) == pytest.approx(1 - 0.05 ** (1 / 82))
    for lost, n in ((0, 10), (3, 60), (17, 164)):
        assert binom.cdf(lost, n, upper_bound(lost, n, 0.95)) == pytest.approx(0.05)
    assert upper_bound(5, 5, 0.95) == upper_bound(0, 0, 0.95) == 1.0


def test_the_first_policy_that_fails_ends_the_test() -> None:
    promise = Promise(0.05)
    assert num_accepted([0, 0, 1, 9, 1], 100, promise) == 3
    assert num_accepted([0, 0], 100, promise) == 2
    assert num_accepted([0, 0], 50, promise) == 0  # 50 without a loss still allow 5.8 %


def test_too_few_questions_say_how_many_would_do() -> None:
    assert questions_needed(Promise(0.03)) == 99
    assert questions_needed(Promise(0.02)) == 149
    assert questions_needed(Promise(0.05)) == 59
    needed = questions_needed(Promise(0.05), share_lost=0.02)
    assert needed is not None
    assert Promise(0.05).is_kept(int(np.ceil(0.02 * needed)), needed)
    assert questions_needed(Promise(0.05), share_lost=0.05) is None


@pytest.mark.parametrize("n", [10, 58, 59, 82, 164])
def test_what_may_be_lost_is_what_the_bound_allows(n: int) -> None:
    promise = Promise(0.05)
    most = most_lost(n, promise)
    assert most < 0 or promise.is_kept(most, n)
    assert not promise.is_kept(most + 1, n)


@pytest.mark.parametrize(("share", "confidence"), [(0.0, 0.95), (1.0, 0.95), (0.05, 1.0), (0.05, 0.2)])
def test_a_promise_that_says_nothing_is_refused(share: float, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"lost|confidence"):
        Promise(share, confidence)


def test_an_accepted_policy_loses_more_than_promised_in_at_most_one_case_of_twenty() -> None:
    """True shares are known: six policies, each of which loses what the stricter one loses, and more."""
    shares, promise, n = np.array([0.0, 0.01, 0.03, 0.05001, 0.07, 0.12]), Promise(0.05), 200
    generator, broken, draws = np.random.default_rng(7), 0, 2000
    for _ in range(draws):
        lost = (generator.random(n)[:, None] < shares).sum(axis=0)
        accepted = num_accepted(lost.tolist(), n, promise)
        broken += accepted > 3
    assert broken / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    assert broken > 0  # it is not merely never accepted


def broken_by_looks(lose_at_most: float, truth: float, most_looks: int, *, spends: bool, draws: int = 4000) -> float:
    """The share of runs that accept a policy which loses `truth`: one look with as many questions as a policy without a
    loss needs, and where that shows nothing another, with as many as the command then says, or half as many again.
    """
    generator, promise, accepted = np.random.default_rng(11), Promise(lose_at_most), 0

    def at(number: int) -> Promise:
        return at_look(promise, number) if spends else promise

    def more_for(number: int, lost: int, n: int) -> int:
        needed = questions_needed(at(number), lost / n) if lost / n < 0.8 * lose_at_most else None
        return min(max((needed or 0) - n, n // 2), 1000)

    first = questions_needed(at(1))
    assert first
    runs = np.stack([generator.binomial(first, truth, draws), np.full(draws, first)], axis=1)
    for number in range(1, most_looks + 1):
        seen, of = np.unique(runs, axis=0, return_inverse=True)
        is_kept = np.array([at(number).is_kept(lost, n) for lost, n in seen.tolist()])[of]
        accepted += is_kept.sum()
        more = np.array([more_for(number + 1, lost, n) for lost, n in seen.tolist()])[of[~is_kept]]
        runs = runs[~is_kept] + np.stack([generator.binomial(more, truth), more], axis=1)
    return accepted / draws


def test_looks_that_follow_each_other_break_a_promise_in_at_most_one_run_of_twenty() -> None:
    """Each at the whole confidence, they break it in far more."""
    assert broken_by_looks(0.05, 0.05001, 6, spends=False) > 0.10
    for lose_at_most in (0.03, 0.05):
        for most_looks in (1, 2, 6):
            assert broken_by_looks(lose_at_most, lose_at_most + 1e-5, most_looks, spends=True) <= 0.05


def test_all_looks_together_spend_no_more_than_the_promise_allows() -> None:
    promise = Promise(0.05)
    spent = [1 - at_look(promise, number).confidence for number in range(1, 20)]
    assert sum(spent) <= 0.05 + 1e-9
    assert spent == sorted(spent, reverse=True)
    assert [questions_needed(at_look(promise, number)) for number in (1, 2, 3)] == [65, 92, 119]


def test_the_same_questions_are_the_same_look_and_others_the_next(tmp_path: Path) -> None:
    looks = Looks(tmp_path / "study")
    assert looks.number("code", ["a", "b"], ["strict"]) == 1
    assert looks.number("code", ["b", "a"], ["strict"]) == 1
    assert looks.number("code", ["a", "b", "c"], ["strict"]) == 2
    assert looks.number("code", ["a", "b"], ["loose"]) == 3
    assert looks.number("calls", ["a", "b"], ["strict"]) == 1
    assert looks.number("code", ["a", "b"], ["strict"]) == 1
