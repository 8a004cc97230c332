"""A small model that hangs holds no request for longer than a trial's limit, and not at all where it is not needed."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.models.engine.remote.api_writer import ApiSettings
from services.models.engine.remote.openai_writer import OpenAIWriter
from tandem.method.profile.endpoint import Capabilities
from tests.integration.asking import ask, generated, idle
from tests.integration.conftest import System, run_system
from tests.integration.test_agreeing_models import said
from tests.integration.test_second_model import billed, counted, since
from tests.integration.test_tools import PARIS, ROME, WEATHER, called
from tests.recorded_api import Answer, recorded_api

pytestmark = pytest.mark.asyncio(loop_scope="session")
NAME = "scripted-together"
LIMIT = "[trial]\npatience = 1.0\nlongest_seconds = 2.0\n"
STOPPED = "the second small model was stopped after 2 s: trial.patience"
COMMENT_SECONDS = 0.05


def impatient(profiles: Path, folder: Path, rule: str = "both") -> Path:
    """Profiles of a pair whose trials may take two seconds; the second model's rates are not known."""
    text = (profiles / NAME / "profile.toml").read_text().replace("[trial]\n", LIMIT).replace('"both"', f'"{rule}"')
    (folder / NAME).mkdir()
    (folder / NAME / "profile.toml").write_text(re.sub(r"second_slm = { input = 200, output = 20 }\n", "", text))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system(
    redis_url: str,
    temporal_address: str,
    checker_address: str,
    profiles_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:
    folder = impatient(profiles_folder, tmp_path_factory.mktemp("late"))
    async with run_system(NAME, folder, redis_url, temporal_address, checker_address, alias="late") as running:
        yield running


async def asked(system: System, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The result, whose bill is what the models have counted."""
    before = counted(system)
    result = await ask(system, messages, tools=[WEATHER])
    await idle(system)
    assert billed(result["usage"]) == since(before, system)
    return result


async def test_a_model_that_hangs_in_an_agreement_is_stopped_and_its_tokens_are_billed(system: System) -> None:
    result = await asked(system, said(PARIS, PARIS, ROME, "second_hold=3"))
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Rome"})], "llm")
    assert generated(result["usage"]["second_slm"]) == 3
    assert [t["verdict"] for t in result["trials"]] == ["unknown", "unknown"]
    assert STOPPED in result["notes"]


async def test_a_trial_that_hangs_is_stopped_and_the_next_model_tries(
    redis_url: str, temporal_address: str, checker_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    text = (profiles_folder / "scripted-second" / "profile.toml").read_text()
    (tmp_path / "scripted-second").mkdir()
    (tmp_path / "scripted-second" / "profile.toml").write_text(
        re.sub(r"(?s)\[rates\].*?\n\n", "", text).replace("[trial]\n", LIMIT)
    )
    running = run_system("scripted-second", tmp_path, redis_url, temporal_address, checker_address, alias="late-second")
    async with running as system:
        before = counted(system)
        result = await ask(system, "[slm=bad slm_hold=2 second=good second_eos=5]", checks=["choice:good"])
        await idle(system)
        assert billed(result["usage"]) == since(before, system)
    assert [(t["role"], t["verdict"]) for t in result["trials"]] == [("slm", "unknown"), ("second_slm", "pass")]
    assert generated(result["usage"]["slm"]) == 2
    assert "the small model was stopped after 2 s: trial.patience" in result["notes"]


def comments() -> Iterator[bytes]:
    """An endpoint that keeps the connection busy and never answers."""
    yield b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        yield b": keep-alive\n\n"
        time.sleep(COMMENT_SECONDS)


async def test_comments_do_not_hold_a_request_beyond_the_limit_of_a_trial(
    redis_url: str, temporal_address: str, checker_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    def answer(path: str, _: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        return Answer(raw=comments)

    with recorded_api(answer) as api:
        second = OpenAIWriter(
            ApiSettings("scripted-second", f"{api.url}/v1", "k", model="m", can=Capabilities(tools=True))
        )
        second.start()
        folder = impatient(profiles_folder, tmp_path)
        async with run_system(
            NAME, folder, redis_url, temporal_address, checker_address, alias="late-api", small={"second_slm": second}
        ) as system:
            result = await ask(system, said(PARIS, PARIS, ROME), tools=[WEATHER])
        second.stop()
    assert result["answered_by"] == "llm"
    assert STOPPED in result["notes"]
    second_used = result["usage"]["second_slm"]
    assert (generated(second_used), second_used["is_estimated"], second_used["input_tokens"] > 0) == (0, True, True)


async def test_a_third_model_that_hangs_is_not_waited_for_once_two_agree(
    redis_url: str, temporal_address: str, checker_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    text = (profiles_folder / NAME / "profile.toml").read_text().replace('"both"', '"two of three"')
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "profile.toml").write_text(text.replace("[trial]\n", "[trial]\nlongest_seconds = 400\n"))
    async with run_system(NAME, tmp_path, redis_url, temporal_address, checker_address, alias="late-three") as system:
        before = system.further["third_slm"].counters.output_tokens
        result = await ask(system, said(PARIS, PARIS, ROME, "third_hold=2"), tools=[WEATHER])
        await idle(system)
        written = system.further["third_slm"].counters.output_tokens - before
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Paris"})], "slm")
    assert generated(result["usage"]["third_slm"]) == written <= 2
