"""A trained scorer of calls decides in the running system: calls, texts without one, and the rest of a conversation."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tandem.client.tools import calls_as_data
from tandem.method.evidence.call_scorer import Regression
from tests.integration.asking import ask
from tests.integration.conftest import System, run_system
from tests.integration.test_tools import PARIS, ROME, WEATHER, called, script
from tests.unit.test_call_evidence import trained

pytestmark = pytest.mark.asyncio(loop_scope="session")
TOOLS = '\n[tools]\nscorer = "calls:trained"\nthreshold = 0.5\ntext_threshold = 0.5\nstay_below = 0.1\n'


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def deciding(
    redis_url: str,
    temporal_address: str,
    checker_address: str,
    profiles_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:
    """The scripted system with a scorer of calls: 0.93 for tokens of -0.1 nats, 0.38 for -1, less than 0.1 for -2."""
    folder = tmp_path_factory.mktemp("deciding") / "scripted"
    shutil.copytree(profiles_folder / "scripted", folder)
    (folder / "profile.toml").write_text((folder / "profile.toml").read_text() + TOOLS)
    least = Regression(names=("least",), mean=(0.0,), spread=(1.0,), weight=(3.5,), offset=3.0)
    pair = {"slm": "scripted-slm", "system": ""}
    trained(pair=pair, computed_by="scripted", calls=least, texts=least).save(folder / "trained")
    system = run_system("scripted", folder.parent, redis_url, temporal_address, checker_address, alias="tools")
    async with system as running:
        yield running


async def test_the_trained_scorer_takes_a_sure_call_and_passes_an_unsure_one_on(deciding: System) -> None:
    sure = await ask(deciding, script(), tools=[WEATHER])
    assert (called(sure), sure["answered_by"]) == ([("w", {"at": "Paris"})], "slm")
    [stage] = sure["stages"]
    assert (stage["scorer"], stage["trained"], stage["threshold"]) == ("calls", True, 0.5)
    assert stage["score"] == pytest.approx(0.934, abs=0.001)
    unsure = await ask(deciding, script(more="slm_logprob=-1"), tools=[WEATHER])
    assert (called(unsure), unsure["answered_by"]) == ([("w", {"at": "Rome"})], "llm")
    assert unsure["tool_calls"][0]["id"].startswith("call_")
    assert not unsure["tool_calls"][0]["id"].startswith("call_large_")


async def test_a_text_that_says_that_no_tool_fits_is_taken_where_the_scorer_knows_texts(deciding: System) -> None:
    result = await ask(deciding, script(slm="No_tool_fits."), tools=[WEATHER])
    assert (result["answer"], result["tool_calls"], result["answered_by"]) == ("No tool fits.", [], "slm")
    assert result["stop"]["threshold"] == 0.5
    unsure = await ask(deciding, script(slm="No_tool_fits.", more="slm_logprob=-1"), tools=[WEATHER])
    assert (called(unsure), unsure["answered_by"]) == ([("w", {"at": "Rome"})], "llm")


async def test_after_a_very_unsure_call_the_large_model_has_the_rest_of_the_conversation(deciding: System) -> None:
    said = script(more="slm_logprob=-2")
    first = await deciding.client.ask(said, tools=[WEATHER])
    [call] = calls_as_data(first.tool_calls)
    assert call["id"].startswith("call_large_")
    later = f"[slm={PARIS} slm_eos={len(PARIS) + 1} llm={ROME} llm_eos={len(ROME) + 1}]"
    said += [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "rain"},
        {"role": "user", "content": later},
    ]
    second = await ask(deciding, said, tools=[WEATHER])
    assert (second["answered_by"], second["usage"]["slm"]["output_tokens"]) == ("llm", 0)
    assert second["tool_calls"][0]["id"].startswith("call_large_")
    assert any("rest of this conversation" in note for note in second["notes"])
    alone = await ask(deciding, said, tools=[WEATHER], max_llm_tokens=0)
    assert alone["answered_by"] == "slm"  # where the large model may not write, the small one is asked


async def test_a_doubt_that_the_conversation_raises_passes_a_sure_call_on(deciding: System) -> None:
    said: list[dict[str, Any]] = script()
    first = await deciding.client.ask(said, tools=[WEATHER])
    [made] = calls_as_data(first.tool_calls)
    said += [
        {"role": "assistant", "content": "", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": made["id"], "content": "rain"},
    ]
    second = await ask(deciding, said, tools=[WEATHER])
    assert (second["answered_by"], called(second)) == ("llm", [("w", {"at": "Rome"})])
    assert any("it makes the same call again" in note for note in second["notes"])


async def test_a_sure_call_that_fails_the_callers_check_is_passed_on_and_both_are_checked(deciding: System) -> None:
    result = await ask(deciding, script(), tools=[WEATHER], checks=["call:w/at:choice:Rome\nOslo"])
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Rome"})], "llm"), (
        result["checks"],
        result["notes"],
    )
    assert [(each["role"], each["verdict"]) for each in result["checks"]] == [("slm", "fail"), ("llm", "pass")]
    assert result["checks"][0]["detail"] == "w/at: 'Paris' is none of: Rome, Oslo"


async def test_a_check_that_passes_makes_no_unsure_call_a_sure_one(deciding: System) -> None:
    checks = ["call:w/at:choice:Paris\nRome"]
    sure = await ask(deciding, script(), tools=[WEATHER], checks=checks)
    assert (sure["answered_by"], [each["verdict"] for each in sure["checks"]]) == ("slm", ["pass"])
    unsure = await ask(deciding, script(more="slm_logprob=-1"), tools=[WEATHER], checks=checks)
    assert (unsure["answered_by"], [each["role"] for each in unsure["checks"]]) == ("llm", ["llm"])
