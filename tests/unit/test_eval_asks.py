"""`tandem eval` says what it is about to ask, and asks no thousands of questions unasked."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from lab.training.datasets import load
from lab.verbs.asking import described
from lab.verbs.evaluate import _missing
from tandem.method.profile.profile import load_profile
from tests.command import tandem
from tests.unit.synthetic import store, synthetic_runs

MANY = 101


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profiles_folder: Path) -> Path:
    """101 questions, in a folder where no model and no gateway is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANDEM_PROFILES_PATH", str(profiles_folder))
    monkeypatch.setenv("TANDEM_MODELS", str(tmp_path / "none"))
    monkeypatch.setenv("TANDEM_ADDRESS", "127.0.0.1:1")
    file = tmp_path / "many.jsonl"
    lines = [{"id": f"5-{n}", "question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(MANY)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.mark.parametrize("way", [[], ["--through-batch"]], ids=["engines", "through a batch"])
def test_many_questions_are_refused_where_nobody_can_be_asked_and_said_first(data: Path, way: list[str]) -> None:
    done = tandem("eval", "--data", str(data), "--profile", "scripted", *way)
    said = " ".join(done.stderr.replace("│", " ").split())
    assert done.returncode == 2
    assert "101 questions" in said
    assert "--n NUMBER, or --yes for all" in said


@pytest.mark.parametrize("more", [["--yes"], ["--n", "101"], ["--max-cost", "1"]])
def test_who_asks_for_all_is_not_asked_again(data: Path, more: list[str]) -> None:
    done = tandem("eval", "--data", str(data), "--profile", "scripted", "--through-batch", *more)
    assert done.returncode == 1  # no gateway answers
    assert "101 questions" in done.stderr
    assert "--yes for all" not in done.stderr


def test_on_a_terminal_a_no_ends_it_before_a_model_is_loaded(data: Path) -> None:
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("tandem")), "eval", "--data", str(data), "--profile", "scripted"]
    try:
        os.write(ours, b"n\n")
        done = subprocess.run(command, stdin=theirs, capture_output=True, text=True, timeout=300, env={**os.environ})
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1, done.stderr
    assert "Ask 101 questions?" in done.stderr
    assert "Aborted" in done.stderr


def test_what_is_asked_has_models_answers_usd_and_time(data: Path, profiles_folder: Path) -> None:
    profile = load_profile("scripted", (profiles_folder,))
    items = load(data).items
    said = described(profile, items)
    assert said.startswith("asks 101 questions; answers to each, at most: scripted-llm 5, scripted-slm 4; roughly $0.3")
    assert "measured rates" not in said  # this profile has none


def test_questions_that_are_collected_are_not_counted(data: Path, profiles_folder: Path, tmp_path: Path) -> None:
    file = store(load_profile("scripted", (profiles_folder,)), tmp_path / "seen.parquet", synthetic_runs(60, 5), "seen")
    assert len(_missing(load(data), file)) == MANY - 60
    assert len(_missing(load(data), tmp_path / "none.parquet")) == MANY
