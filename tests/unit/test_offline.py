"""Which study `tandem eval` judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.training.names import TRAINING
from lab.verbs.offline import any_study, new_study
from tandem.paths import REPOSITORY


def test_the_report_of_an_evaluation_is_not_taken_for_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = new_study("pair")
    folder.mkdir(parents=True)
    (folder / "gsm8k.md").touch()  # as the first `tandem eval` leaves it
    assert any_study("pair") == REPOSITORY / "lab/training/studies/pair"
    (folder / TRAINING).touch()  # as `tandem train` leaves it
    assert any_study("pair") == folder
