"""The lab's verbs: which study `tandem eval` judges, and progress in a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.training.names import TRAINING
from lab.verbs.gathering import Lines
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


def test_a_log_has_the_first_answer_one_line_each_half_minute_and_the_end() -> None:
    now, written = [100.0], list[str]()
    report = Lines("sums", written.append, lambda: now[0])
    for at, done, tokens in [
        (0, 5, 0),
        (10, 5, 0),
        (12, 5, 40),
        (20, 6, 500),
        (22, 7, 600),
        (55, 9, 900),
        (60, 10, 2000),
    ]:
        now[0] = 100.0 + at
        report(done, 10, tokens)
    assert written == [
        "sums: 5 of 10",
        "sums: 6 of 10, 50 tokens/s, 1 min left",
        "sums: 9 of 10, 20 tokens/s, under a minute left",
        "sums: 10 of 10, 40 tokens/s",
    ]


def test_a_log_says_the_hours_that_are_left() -> None:
    now, written = [0.0], list[str]()
    report = Lines("sums", written.append, lambda: now[0])
    for at, done in [(0, 0), (60, 1)]:
        now[0] = float(at)
        report(done, 164, at)
    assert written[-1] == "sums: 1 of 164, 1 tokens/s, 2 h 43 min left"


def test_without_a_terminal_each_step_of_long_work_is_a_line_beside_the_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from lab.verbs.offline import working

    with working(quiet=False) as report:
        report("mlp, 1 of 6 kinds: 5 folds over 260 questions")
        report("logistic, 2 of 6 kinds: 5 folds over 260 questions")
    with working(quiet=True) as report:
        report("nothing")
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.endswith(" s: mlp, 1 of 6 kinds: 5 folds over 260 questions")
    assert second.endswith(" s: logistic, 2 of 6 kinds: 5 folds over 260 questions")
