"""The shipped stop rule of the default pair comes from the shipped study, and was evaluated on unseen questions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lab.training.datasets import load
from lab.training.study import Study
from services.sufficiency_scorer.artefact import DESCRIPTION, WEIGHTS
from tandem.method.profile.profile import load_profile
from tandem.paths import DEFAULT_PROFILE, REPOSITORY

SHIPPED = REPOSITORY / "deploy" / "profiles"
STUDY = Study(REPOSITORY / "lab" / "training" / "studies" / DEFAULT_PROFILE)
EVALUATION = STUDY.folder / "evaluation"
EVALUATED = ("gsm8k", "math_test", "mbpp_test", "humaneval")


def figures(data: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((EVALUATION / f"{data}.json").read_text())
    return found


def test_the_profile_has_the_policy_of_the_study() -> None:
    profile, policy = load_profile(DEFAULT_PROFILE, (SHIPPED,)), STUDY.policies().served
    thresholds = [profile.stop.stage_zero_threshold, *(stage.threshold for stage in profile.stages)]
    assert thresholds == pytest.approx(list(policy.thresholds), abs=1e-4)
    assert (profile.stop.scorer, profile.stop.otherwise == "llm_finishes") == (
        f"{policy.kind}:scorer", policy.llm_finishes
    )  # fmt: skip
    for name in (WEIGHTS, DESCRIPTION):
        assert (profile.folder / "scorer" / name).read_bytes() == (STUDY.folder / policy.kind / name).read_bytes()


def test_no_evaluation_question_is_a_training_question() -> None:
    training = STUDY.training()
    ids = {name.rsplit("/", 1)[1] for name in (*training.questions, *training.more_questions)}
    texts = {i.question.strip() for name in ("math_train", "word_problems") for i in load(name).items if i.id in ids}
    assert len(texts) == len(ids)
    for data in EVALUATED:
        assert not texts & {item.question.strip() for item in load(data).items}, data


@pytest.mark.parametrize("data", EVALUATED)
def test_an_evaluation_is_of_the_datasets_in_the_repository(data: str) -> None:
    found, dataset = figures(data), load(data)
    assert found["data"]["sha256"] == dataset.sha256
    assert found["data"]["n"] == {"gsm8k": 300, "math_test": 60, "mbpp_test": 123, "humaneval": 164}[data]
