"""The bound on lost questions: exact, for every policy that is accepted, and honest where there are too few questions."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

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
    generator, broken, draws = np.random.default_rng(7), 0, 4000
    for _ in range(draws):
        lost = (generator.random(n)[:, None] < shares).sum(axis=0)
        accepted = num_accepted(lost.tolist(), n, promise)
        broken += accepted > 3
    assert broken / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    assert broken > 0  # it is not merely never accepted
