"""A profile's files may change while requests of it run: each request is answered by the profile that it was planned
with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from services.shared.process import served_profiles
from services.shared.process.served_profiles import ServedProfiles, rereading
from services.sufficiency_scorer.stage_scorer import StageScorer, StageScorers
from tandem.method.errors import PROFILE_MISMATCH, FailedPrecondition
from tandem.method.profile.profile import Model, Profile, load_profile

NAME = "scripted"
SOON = timedelta(seconds=0.2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_profiles, "_LOOK_AGAIN_SECONDS", 0.01)


@pytest.fixture
def file(tmp_path: Path, profiles_folder: Path) -> Path:
    file = tmp_path / NAME / "profile.toml"
    file.parent.mkdir()
    file.write_text((profiles_folder / NAME / "profile.toml").read_text())
    return file


def now(file: Path) -> Profile:
    return load_profile(NAME, (file.parent.parent,))


def model_of(profile: Profile) -> Model:
    return profile.slm


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def with_other_prompts(file: Path) -> Profile:
    """What a gateway serves that began with the changed file, which is not here yet."""
    text = file.read_text()
    change(file, "{question}", "They ask: {question}")
    changed = now(file)
    file.write_text(text)
    return changed


def served(file: Path, patience: timedelta = timedelta(seconds=60)) -> ServedProfiles:
    profile = now(file)

    def read() -> Sequence[Profile]:
        return [now(file)]

    return ServedProfiles(profile, reread=rereading(read, model_of, profile), patience=patience)


async def test_a_request_waits_for_the_changed_files_that_it_was_planned_with(file: Path) -> None:
    profiles, newer = served(file), with_other_prompts(file)
    asked = asyncio.create_task(profiles.of(newer.digest))
    await asyncio.sleep(0.05)
    assert not asked.done()
    change(file, "{question}", "They ask: {question}")
    assert (await asked).prompts == newer.prompts


async def test_the_profile_from_before_is_kept_for_its_requests(file: Path) -> None:
    profiles, older = served(file), now(file)
    change(file, "{question}", "They ask: {question}")
    assert (await profiles.of(now(file).digest)).digest != older.digest
    assert (await profiles.of(older.digest)).prompts == older.prompts


async def test_a_request_of_a_profile_that_never_comes_is_refused(file: Path) -> None:
    with pytest.raises(FailedPrecondition, match="was planned with 0123") as refused:
        await served(file, SOON).of("0123")
    assert refused.value.reason == PROFILE_MISMATCH


@pytest.mark.parametrize("change_", [("scripted-slm", "another-slm"), ("[prompts]", "[prompts")])
async def test_files_that_cannot_be_served_here_change_nothing(file: Path, change_: tuple[str, str]) -> None:
    profiles, older = served(file, SOON), now(file)
    change(file, *change_)
    with pytest.raises(FailedPrecondition):
        await profiles.of("0123")
    assert (await profiles.of(older.digest)).slm == older.slm


def test_a_scorer_beside_the_profile_is_part_of_its_digest(file: Path) -> None:
    without = now(file).digest
    (file.parent / "weights").write_bytes(b"1")
    first = now(file).digest
    (file.parent / "weights").write_bytes(b"2")
    (file.parent / "report").mkdir()
    second = now(file).digest
    assert len({without, first, second}) == 3
    (file.parent / "weights").unlink()
    assert now(file).digest == without


async def test_a_changed_scorer_scores_the_requests_that_were_planned_with_it(file: Path) -> None:
    made: list[str] = []

    def make(profile: Profile) -> StageScorer:
        made.append(profile.digest)
        return cast(StageScorer, _Scorer(profile))

    older = now(file)
    scorers = StageScorers(older, make=make, reread=lambda: [now(file)])
    (file.parent / "weights").write_bytes(b"1")
    newer = now(file)
    for _ in range(2):
        assert (await scorers.of(newer.digest)).profile.digest == newer.digest
        assert (await scorers.of(older.digest)).profile.digest == older.digest
    assert made == [older.digest, newer.digest]


async def test_a_scorer_that_does_not_fit_refuses_its_requests_alone(file: Path) -> None:
    older = now(file)

    def make(profile: Profile) -> StageScorer:
        if profile.digest != older.digest:
            raise ValueError("it was trained for another pair")
        return cast(StageScorer, _Scorer(profile))

    scorers = StageScorers(older, make=make, reread=lambda: [now(file)])
    (file.parent / "weights").write_bytes(b"1")
    with pytest.raises(FailedPrecondition, match="another pair"):
        await scorers.of(now(file).digest)
    assert (await scorers.of(older.digest)).profile.digest == older.digest


class _Scorer:
    drift: Any = None

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
