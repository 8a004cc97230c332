"""The ablation of an insight's parts, on scripted models."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pyarrow")

from lab.paper import ablation
from lab.paper.ablation import CONTINUATION, VARIANTS, Asker
from lab.paper.answers import questions_of
from tests.fakes import ScriptedEngine


def test_a_question_is_answered_from_each_variant_of_the_insight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "FOLDER", tmp_path)
    item = questions_of("gsm8k")[0]
    line = asyncio.run(Asker(ScriptedEngine("llm"), ScriptedEngine("slm")).line(item))
    assert [each["variant"] for each in line] == list(VARIANTS)
    assert all(0 < each["insight_tokens"] <= 208 for each in line)
    (tmp_path / "gsm8k.jsonl").write_text(json.dumps(line) + "\n")
    ablation.answers.cache_clear()
    rows = [row.split(" | ") for row in ablation.rows()]
    ablation.answers.cache_clear()
    assert [(row[0], row[1], row[2]) for row in rows] == [("GSM8K", name, "1") for name in (*VARIANTS, CONTINUATION)]
    assert rows[0][4] == ""
