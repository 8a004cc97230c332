"""Which answer an arm takes, and how many models it asks for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tandem.method.promise.arms import ALL_AGREE, LADDER, LEARNED, TWO_AGREE, Arm, arms, learned_kinds


def same(answers: str) -> Callable[[int, int], bool]:
    return lambda one, other: answers[one] == answers[other]


def usable(answers: str) -> list[bool]:
    """A minus stands for no answer."""
    return [answer != "-" for answer in answers]


@pytest.mark.parametrize(
    ("arm", "answers", "taken", "requested"),
    [
        (TWO_AGREE, "aab", 0, 2),
        (TWO_AGREE, "aba", None, 2),
        (TWO_AGREE, "-aa", None, 2),
        (ALL_AGREE, "aaa", 0, 3),
        (ALL_AGREE, "aab", None, 3),
        (ALL_AGREE, "aa-", None, 3),
        (LADDER, "aab", 0, 2),
        (LADDER, "aba", 0, 3),
        (LADDER, "baa", 1, 3),
        (LADDER, "abc", None, 3),
        (LADDER, "-aa", 1, 3),
        (LADDER, "---", None, 3),
        (Arm("examples 4", 2, 1, weight=4), "a-", 0, 1),
        (Arm("examples 4", 2, 1, weight=4), "-a", 1, 2),
        (Arm("examples 4", 2, 1, weight=4), "--", None, 2),
    ],
)
def test_an_arm_takes_the_first_answer_that_enough_models_give(
    arm: Arm, answers: str, taken: int | None, requested: int
) -> None:
    assert arm.taken(usable(answers), same(answers)) == taken
    assert arm.requested(usable(answers), same(answers)) == requested


def test_arms_are_in_order_from_the_strictest() -> None:
    """What a stricter one takes is taken by each looser one too, except that all three agree or the first two do."""
    assert arms("answer", 3) == (ALL_AGREE, TWO_AGREE, LADDER)
    assert arms("tools", 2) == (TWO_AGREE,)
    weights = [arm.weight for arm in arms("code", 1)]
    assert weights == sorted(weights, reverse=True)


def test_one_small_model_proves_nothing_but_programs() -> None:
    assert [kind for kind in LEARNED if arms(kind, 1)] == ["code"]


def test_free_text_is_never_learned_and_tools_turn_out_as_calls_or_none() -> None:
    assert learned_kinds("chat") == ()
    assert learned_kinds("tools") == ("tools", "no_call")
    assert learned_kinds("option") == ("option",)
