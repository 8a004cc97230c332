"""Self-consistency: which sample a majority chooses, and what asking several times costs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

from lab.collecting import keep_origin
from lab.paper import samples
from lab.paper.answers import collected
from lab.paper.samples import MOST, Sample, Sampler
from lab.training.datasets import load
from lab.training.errors import StoreError
from lab.training.outcomes import slm_alone
from lab.training.table import Table
from tests.fakes import ScriptedEngine


def draw(question: str, *answers: str, right: str = "4") -> list[Sample]:
    return [Sample(question, i, answer, answer == right, False, 10) for i, answer in enumerate(answers)]


@pytest.fixture
def table() -> Table:
    return collected("math_test").table.take(np.arange(3))


def asked(monkeypatch: pytest.MonkeyPatch, table: Table, *answers: tuple[str, ...]) -> None:
    ids = [question.partition("/")[2] for question in table.questions]
    known = {name: draw(name, *each) for name, each in zip(ids, answers, strict=True)}
    monkeypatch.setattr(samples, "samples", lambda name: known)


def test_a_majority_counts_equal_answers_and_takes_the_earliest_of_a_tie(
    monkeypatch: pytest.MonkeyPatch, table: Table
) -> None:
    asked(monkeypatch, table, ("3", "4", "4.0", "3", "3"), ("5", "4", "3", "2", "1"), ("", "", "4", "", ""))
    found = samples.outcomes("math_test", table, collected("math_test").plan)
    assert found["majority:3"].right.tolist() == [True, False, False]
    assert found["majority:5"].right.tolist() == [False, False, False]


def test_samples_read_the_prompt_once_and_write_each(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    asked(monkeypatch, table, *[("4",) * MOST] * 3)
    plan = collected("math_test").plan
    found = samples.outcomes("math_test", table, plan)
    assert found["majority:5"].slm_tokens.tolist() == [10 * MOST] * 3
    assert (found["agreed:3"].llm_tokens == 0).all()
    alone = slm_alone(table, plan)
    more = 30 - alone.slm_tokens
    assert np.allclose(found["majority:3"].full - alone.full, 2 * plan.slm.parameters * more / 1e12)


def test_what_samples_do_not_agree_on_goes_to_the_large_model(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    asked(monkeypatch, table, ("4", "4", "3", "4", "4"), ("4",) * 5, ("4", "4", "4", "4", "5"))
    found = samples.outcomes("math_test", table, collected("math_test").plan)
    assert (found["agreed:3"].llm_tokens > 0).tolist() == [True, False, False]
    assert (found["agreed:5"].llm_tokens > 0).tolist() == [True, False, True]
    assert found["agreed:3"].right.tolist() == [bool(table.llm.right[0]), True, True]


def test_a_set_that_was_asked_in_part_has_no_row(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    monkeypatch.setattr(samples, "samples", lambda name: {})
    assert samples.outcomes("math_test", table, collected("math_test").plan) == {}


def test_a_line_that_a_kill_cut_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "FOLDER", tmp_path)
    line = json.dumps([{"question": "q", "number": 0, "answer": "4", "right": True, "truncated": False, "tokens": 9}])
    (tmp_path / "gsm8k.jsonl").write_text(f"{line}\n{line[:30]}")
    samples.samples.cache_clear()
    assert [*samples.samples("gsm8k")] == ["q"]
    assert (tmp_path / "gsm8k.jsonl").read_text() == f"{line}\n"
    samples.samples.cache_clear()


def test_each_sample_of_a_question_is_another_draw() -> None:
    item = load("math_test").items[0]
    line = asyncio.run(Sampler(ScriptedEngine("slm")).line(item))
    assert [each["number"] for each in line] == list(range(MOST))
    assert {each["question"] for each in line} == {item.id}


def test_answers_of_other_models_do_not_go_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    keep_origin({"engine": "a", "command": "1"}, path)
    keep_origin({"engine": "a", "command": "2"}, path)
    with pytest.raises(StoreError, match="another engine"):
        keep_origin({"engine": "b", "command": "1"}, path)
