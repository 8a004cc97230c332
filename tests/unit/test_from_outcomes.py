"""`tandem calibrate --from-outcomes`: policies are judged by what became of served requests."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest

pytest.importorskip("math_verify")

from lab.training.errors import TooFew
from lab.training.from_outcomes import ReportedOutcome, judge_by_outcomes, made_by_outcomes
from lab.training.promise import Promise
from lab.training.promise_files import ship_made
from tandem.method.profile.profile import Profile, load_profile
from tandem.paths import DEFAULT_PROFILE, REPOSITORY

PROMISE = Promise(0.05)


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    copytree(REPOSITORY / "deploy/profiles" / DEFAULT_PROFILE, tmp_path / DEFAULT_PROFILE)
    return load_profile(DEFAULT_PROFILE, (tmp_path,))


def test_a_policy_is_judged_by_the_requests_that_it_would_have_accepted(profile: Profile) -> None:
    kept = [ReportedOutcome(0.0, 0, strength=6)] * 300 + [ReportedOutcome(1.0, 0, strength=2)] * 60
    judged = judge_by_outcomes(profile, "code", kept, PROMISE)
    assert [(each.evidence.partition(" at ")[0], each.lost, each.is_accepted) for each in judged] == [
        *((f"checks python_examples:weight={n}", 0, True) for n in (10, 8, 6, 5, 4, 3)),
        ("checks python_examples:weight=2", 60, False),
    ]
    assert judged[-1].step == 0


def test_outcomes_of_a_stricter_policy_say_nothing_of_a_looser_one(profile: Profile) -> None:
    judged = judge_by_outcomes(profile, "code", [ReportedOutcome(0.0, 1, strength=6)] * 100, PROMISE)
    assert [each.n for each in judged] == [100] * 6 + [0]
    assert not judged[-1].is_accepted


def test_too_few_outcomes_show_no_policy_and_none_is_an_error(profile: Profile) -> None:
    [first] = judge_by_outcomes(profile, "code", [ReportedOutcome(0.0, 0, strength=6)] * 58, PROMISE)
    assert not first.is_accepted
    with pytest.raises(TooFew, match="consent"):
        judge_by_outcomes(profile, "code", [], PROMISE)


def test_what_is_written_is_served_with_its_promise(profile: Profile) -> None:
    kept = [ReportedOutcome(0.0, 0, strength=6)] * 300 + [ReportedOutcome(1.0, 0, strength=2)] * 60
    chosen = [each for each in judge_by_outcomes(profile, "code", kept, PROMISE) if each.is_accepted][-1]
    ship_made(profile, chosen.profile, made_by_outcomes("code", chosen, kept, PROMISE))
    served = load_profile(DEFAULT_PROFILE, (profile.folder.parent,))
    [made] = served.promises
    assert served.keeps(made)
    assert (made.n, made.lost, made.data[0].dataset) == (360, 0, "outcomes")
