"""What a profile may learn, and how it serves an arm that was shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.method.errors import InvalidArgument
from tandem.method.profile.profile import Profile, profile_of
from tandem.method.promise.arms import ALL_AGREE, LADDER, TWO_AGREE, arms
from tandem.method.request.plan import make_plan
from tandem.method.rule.learned import strictest, with_arm

FILE = Path(__file__).parents[1] / "profiles" / "scripted-promised" / "profile.toml"
TEXT = FILE.read_text()


def profile(text: str = TEXT) -> Profile:
    return profile_of(text, FILE)


def test_a_profile_learns_what_nothing_in_it_answers_by_a_cheap_model() -> None:
    assert {"tools", "no_call", "answer", "option"} <= set(profile().learned)
    by_hand = profile(TEXT + '\n[agreement]\nkinds = ["tools"]\n')
    assert not {"tools", "no_call"} & set(by_hand.learned)


@pytest.mark.parametrize(
    ("given", "instead", "why"),
    [
        ("lose_at_most = 0.03", "lose_at_most = 0.6", "lose_at_most"),
        ("lose_at_most = 0.03", "lose_at_most = 0.03\nconfidence = 1.0", "confidence"),
        ("lose_at_most = 0.03", "lose_at_more = 0.03", "lose_at_more"),
        ('scorer = "off"', 'scorer = "untrained"', "needs stop.scorer = 'off'"),
        ("llm = { input = 3, cached_input = 1, output = 6 }", "", "needs the large model's price"),
    ],
)
def test_a_promise_that_means_nothing_is_refused(given: str, instead: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        profile(TEXT.replace(given, instead))


def test_small_models_answer_a_learned_kind_by_the_arm() -> None:
    plan = make_plan(with_arm(profile(), ["tools"], LADDER), "chat", may_call=True)
    assert (plan.trial.agree, plan.trial.at_once, len(plan.trial.order)) == (2, 2, 3)
    assert (plan.trial.takes_calls, plan.trial.takes_no_call) == (True, False)
    plan = make_plan(with_arm(profile(), ["no_call"], ALL_AGREE), "chat", may_call=True)
    assert (plan.trial.agree, plan.trial.takes_calls, plan.trial.takes_no_call) == (3, False, True)


def test_other_kinds_are_left_to_the_large_model() -> None:
    served = with_arm(profile(), ["answer"], TWO_AGREE)
    assert make_plan(served, "answer", question="Two and two?").trial.agree == 2
    assert make_plan(served, "answer", question="Which?\nA) one\nB) two").trial.agree == 0
    assert make_plan(served, "chat", may_call=True).trial.agree == 0


def test_programs_are_tried_by_their_examples() -> None:
    [strict, *_] = arms("code", 3)
    served = with_arm(profile(), ["code"], strict)
    assert [str(check) for check in served.checks.of("code")] == ["python_examples:weight=6"]
    assert make_plan(served, "code").trial.stages == [0]
    assert make_plan(served, "answer").trial.stages == []


def test_of_two_arms_the_strictest_answers() -> None:
    assert strictest({"tools": LADDER, "no_call": ALL_AGREE}) is ALL_AGREE
    assert strictest({"tools": LADDER, "no_call": TWO_AGREE}) is TWO_AGREE
