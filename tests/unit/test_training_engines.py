"""A scorer knows what computed the features that it was trained on, and hidden states are not needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("sklearn")

from lab.training import estimators, mlp
from lab.training.collected import load_collected
from lab.training.estimators import ESTIMATORS
from lab.training.names import OF_STATES
from lab.training.store import read, write
from lab.training.study import Study
from lab.training.train import TrainingOptions, train
from services.sufficiency_scorer.artefact import TRANSFORMERS, TrainedScorer
from tandem.method.profile.profile import Profile, load_profile
from tests.unit.synthetic import ignore, store, synthetic_runs

LLAMACPP = "llamacpp Q4_K - Medium"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "_EPOCHS", 3)
    monkeypatch.setattr(estimators, "_PENALTIES", [1.0])


@pytest.fixture
def profile(profiles_folder: Path) -> Profile:
    return load_profile("scripted", (profiles_folder,))


def test_a_scorer_trained_on_llama_cpp_is_served_on_it_alone(profile: Profile, tmp_path: Path) -> None:
    runs = [
        run if run.states is None else replace(run, states=np.empty(0, np.float16)) for run in synthetic_runs(60, 0)
    ]
    file = store(profile, tmp_path / "some.parquet", runs)
    origin = read(file)[0].model_copy(update={"engine": "llamacpp", "computed_by": LLAMACPP})
    write(file, origin, runs)
    study = Study(tmp_path / "study")
    made = train(load_collected([file], profile), profile, study, TrainingOptions(list(ESTIMATORS), folds=3), ignore)
    assert set(made.kinds) == set(ESTIMATORS) - set(OF_STATES)
    scorer = TrainedScorer(study.artefact("logistic"))
    scorer.check_compatible(profile, origin.tokenizer_sha256, LLAMACPP)
    with pytest.raises(ValueError, match="trained on llamacpp Q4_K - Medium, here transformers"):
        scorer.check_compatible(profile, origin.tokenizer_sha256, TRANSFORMERS)


def test_answers_of_two_engines_do_not_come_into_one_file(profile: Profile, tmp_path: Path) -> None:
    file = store(profile, tmp_path / "some.parquet", synthetic_runs(3, 0))
    origin = read(file)[0]
    assert origin.differences(origin.model_copy(update={"engine": "llamacpp"})) == ["engine"]
