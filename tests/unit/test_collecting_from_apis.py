"""Answers of models behind APIs, collected for a calibration: both small models and the large one, by recorded
conversations.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("math_verify")

from lab.training import machine
from lab.training.collect import Run
from lab.training.collected import load_collected
from lab.training.datasets import load
from lab.training.errors import StoreError
from lab.training.machine import Machine
from lab.training.session import Scope, collect
from lab.training.store import read_origin
from tandem.method.profile.endpoint import Api
from tandem.method.profile.profile import Profile, load_profile
from tests.recorded_api import Answer, openai_chunks, openai_usage, recorded_api

PROMPT = 'def double(x):\n    """Twice x.\n\n    >>> double(3)\n    6\n    """\n'
TASKS = [
    {"task_id": str(i), "prompt": PROMPT, "test": "def check(f):\n    assert f(5) == 10\n", "entry_point": "double"}
    for i in range(2)
]  # fmt: skip
PROGRAMS = {"scripted-llm": "2 * x", "scripted-slm": "x + x", "scripted-second": "x << 1"}
MODELS = Answer({"object": "list", "data": [{"id": name, "object": "model"} for name in PROGRAMS]})


@pytest.fixture
def profile(profiles_folder: Path) -> Profile:
    return load_profile("scripted-agreeing", (profiles_folder,))


def behind(profile: Profile, url: str) -> Profile:
    api = Api(url=f"{url}/v1")
    return profile.model_copy(
        update={
            "llm": profile.llm.model_copy(update={"api": api}),
            "small": tuple(model.model_copy(update={"api": api}) for model in profile.small),
        }
    )


def collected(profile: Profile, tmp_path: Path, *, only_question: bool = True) -> list[Run]:
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(task) + "\n" for task in TASKS))
    scope = Scope(only_question=only_question)
    work = collect(
        profile, load(file), None, 0, scope, tmp_path / "out.parquet", tmp_path, Machine(width=2), lambda *_: None
    )
    return asyncio.run(work)


def test_all_three_models_answer_bare_questions_and_both_programs_are_compared(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API is busy once; nothing is asked twice when the command is given again."""
    monkeypatch.setattr(machine, "_MOST_WAIT_SECONDS", 5.0)
    busy = [Answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "0.01"})]

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return MODELS
        if busy:
            return busy.pop()
        text = f"```python\ndef double(x):\n    return {PROGRAMS[body['model']]}\n```"
        return Answer(events=openai_chunks([text], openai_usage(33, 12)))

    with recorded_api(answer) as api:
        pair = behind(profile, api.url)
        runs = collected(pair, tmp_path)
        asked = len(api.asked)
        again = collected(pair, tmp_path)
    assert asked == 3 * len(TASKS) + 1
    assert len(api.asked) == asked
    assert sorted(run.name for run in again) == sorted(run.name for run in runs)
    by_name = {run.name: run for run in runs}
    assert {name: run.verdict for name, run in by_name.items()} == {
        "llm": "pass", "slm": "pass", "second_slm": "pass", "agreement": "pass"
    }  # fmt: skip
    assert (by_name["second_slm"].prompt_tokens, by_name["second_slm"].output_tokens) == (33, 12)  # as the API counts
    assert read_origin(tmp_path / "out.parquet").computed_by == "openai"
    table = load_collected([tmp_path / "out.parquet"], pair, only_question=True).table
    assert table.second.passed.tolist() == table.agreement.passed.tolist() == [True, True]


def test_an_api_that_refuses_is_named_and_insights_are_not_collected_from_one(profile: Profile, tmp_path: Path) -> None:
    refusal = Answer({"error": {"message": "no credit"}}, status=402)
    with recorded_api(lambda path, _: MODELS if path.endswith("/models") else refusal) as api:
        with pytest.raises(StoreError, match=r"scripted-\w+ at http.*what was collected is kept"):
            collected(behind(profile, api.url), tmp_path)
        with pytest.raises(StoreError, match="--only-question"):
            collected(behind(profile, api.url), tmp_path, only_question=False)
