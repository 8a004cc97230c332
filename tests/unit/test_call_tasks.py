"""Tasks with tools are read as the leaderboard writes them, and their collection goes on where it was cut."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from pathlib import Path

import pytest

from lab.calls.collect import collect, done_in
from lab.calls.tasks import json_schema_of, load
from lab.collecting import in_order_of_chance, keep_origin
from lab.training.errors import DatasetError, StoreError
from lab.verbs.offline import find_profile
from services.models.engine.json_schema import try_schema
from services.models.engine.tool_grammar import GENERIC, tool_grammar
from tandem.method.tools import check_tools
from tandem.paths import DEFAULT_PROFILE
from tests.fakes import ScriptedEngine

FUNCTION = {
    "name": "geo.find",
    "description": "Finds a place.",
    "parameters": {
        "type": "dict",
        "properties": {
            "type": {"type": "string"},
            "at": {"type": "tuple", "items": {"type": "float"}},
            "x": {"type": "any"},
        },
        "required": ["type"],
    },
}
LINES = [
    {"id": name, "category": "simple_python", "messages": [{"role": "user", "content": "Where is Rome?"}],
     "functions": [FUNCTION], "answer": [{"geo.find": {"type": ["city"]}}]}
    for name in ("one", "two", "three")
]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


def test_types_of_the_leaderboard_become_those_of_json_schemas() -> None:
    schema = json_schema_of(FUNCTION["parameters"])
    assert schema["type"] == "object"
    assert schema["properties"]["type"] == {"type": "string"}
    assert schema["properties"]["at"] == {"type": "array", "items": {"type": "number"}}
    assert schema["properties"]["x"] == {}


@pytest.mark.parametrize("name", ["train", "test"])
def test_every_task_can_be_asked(name: str) -> None:
    tasks = load(name)
    assert len(tasks.items) == {"train": 840, "test": 529}[name]
    assert len({task.id for task in tasks.items}) == len(tasks.items)
    for task in tasks.items:
        check_tools(task.tools)
        assert bool(task.answer) == (task.category != "irrelevance")
    for task in tasks.items[:20]:
        try_schema(tool_grammar(GENERIC, task.tools))


def test_a_line_that_is_no_task_is_named_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(LINES[0]) + "\n" + json.dumps({"id": "x"}) + "\n")
    with pytest.raises(DatasetError, match=r"tasks\.jsonl:2: the field 'category' is missing"):
        load(path)


def test_each_task_is_asked_once_although_a_kill_cut_the_file(file: Path, tmp_path: Path) -> None:
    tasks, out = load(file), tmp_path / "out.jsonl"
    out.write_text(json.dumps({"id": "one"}) + "\n" + '{"id": "tw')
    asyncio.run(collect(tasks, find_profile(DEFAULT_PROFILE), ScriptedEngine("llm"), ScriptedEngine("slm"), out))
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[0] == {"id": "one"}
    assert sorted(line["id"] for line in lines[1:]) == ["three", "two"]
    assert done_in(out) == {"one", "two", "three"}


def test_a_part_of_the_tasks_is_a_sample_of_all_categories() -> None:
    tasks = load("train").items
    first = Counter(task.category for task in in_order_of_chance(tasks)[: len(tasks) // 4])
    for category, num in Counter(task.category for task in tasks).items():
        assert first[category] == pytest.approx(num / 4, abs=15), category


def test_an_answer_has_its_calls_and_the_chance_of_each_token(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    asyncio.run(collect(load(file), find_profile(DEFAULT_PROFILE), ScriptedEngine("llm"), ScriptedEngine("slm"), out))
    for line in out.read_text().splitlines():
        written = json.loads(line)["written"]
        assert [(each["role"], each["sample"]) for each in written] == [("slm", 0), ("slm", 1), ("slm", 2), ("llm", 0)]
        for each in written:
            assert [name for name, _ in each["calls"]] == ["geo.find"]
            assert len(each["tokens"]) == len(each["logprobs"])
            assert not any(math.isnan(chance) for chance in each["logprobs"])
            assert not each["error"]


def test_answers_of_other_models_do_not_go_into_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    keep_origin({"engine": "a", "command": "1"}, path)
    keep_origin({"engine": "a", "command": "2"}, path)
    with pytest.raises(StoreError, match="another engine"):
        keep_origin({"engine": "b", "command": "1"}, path)
