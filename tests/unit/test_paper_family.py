"""A small model of another family in the replication, on scripted models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

from lab.paper import ablation, family
from lab.paper.answers import questions_of
from tests.fakes import ScriptedEngine


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is collected yet."""
    for module in (ablation, family):
        monkeypatch.setattr(module, "FOLDER", tmp_path / module.__name__)
        (tmp_path / module.__name__).mkdir()
        module.answers.cache_clear()
    yield
    ablation.answers.cache_clear()
    family.answers.cache_clear()


def test_both_small_models_are_shown_alone_and_with_the_same_brief() -> None:
    item = questions_of("gsm8k")[0]
    briefed = asyncio.run(ablation.Asker(ScriptedEngine("llm"), ScriptedEngine("slm")).line(item))
    (ablation.FOLDER / "gsm8k.jsonl").write_text(json.dumps(briefed) + "\n")
    line = asyncio.run(family.Asker(ScriptedEngine("slm"), {item.id: "Add 2 and 3."}).line(item))
    assert [each["is_briefed"] for each in line] == [False, True]
    (family.FOLDER / "gsm8k.jsonl").write_text(json.dumps(line) + "\n")
    rows = [row.split(" | ") for row in family.rows()]
    assert [(row[1], row[2], row[3]) for row in rows] == [
        (model, insight, "1") for insight in ("none", ablation.WHOLE) for model in (family.SHIPPED, family.OTHER)
    ]
    assert [bool(row[5]) for row in rows] == [False, True, False, True]


def test_a_base_model_is_given_worked_examples_and_the_brief_as_text() -> None:
    read = []

    class Reading(ScriptedEngine):
        def generate(self, request):  # type: ignore[no-untyped-def]
            read.append(self.tokenizer.decode(request.prompt_ids))
            assert request.stops.strings == ("\nQuestion:",)
            return super().generate(request)

    item = questions_of("gsm8k")[0]
    asyncio.run(family.Asker(Reading("slm"), {item.id: "Add 2 and 3."}).line(item))
    assert [text.count("The answer is \\boxed{") for text in read] == [2, 2]
    assert ["Insight: Add 2 and 3." in text for text in read] == [False, True]
    assert all(f"Question: {item.question}" in text for text in read)
