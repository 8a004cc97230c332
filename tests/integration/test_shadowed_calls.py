"""Calls of tools have shadows: the large model is asked with the same tools, and what it calls is compared."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tandem import to_dict
from tests.integration.asking import ask, shadow_of
from tests.integration.conftest import System, run_system
from tests.integration.test_agreeing_models import NOBODY, OTHER, said
from tests.integration.test_tools import PARIS, ROME, WEATHER
from tests.promising import promise

pytestmark = pytest.mark.asyncio(loop_scope="session")
IN_PARIS = 'w({"at": "Paris"})'


@pytest_asyncio.fixture(params=[""], ids=["alone"], loop_scope="session")
async def shadowed(
    request: pytest.FixtureRequest, redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path
) -> AsyncIterator[System]:
    """Two small models that are asked together; every request has a shadow, and what they call is promised."""
    name = f"shadowed-{uuid4().hex[:8]}"
    text = (profiles_folder / "scripted-together" / "profile.toml").read_text().replace("scripted-together", name)
    judge = f'judge = "{name}"\n' if request.param else ""
    shutil.copytree(profiles_folder / "scripted-together", tmp_path / name)
    (tmp_path / name / "profile.toml").write_text(f"{text}\n[shadow]\nshare = 1.0\n{judge}")
    promise(tmp_path / name, "tools")
    async with run_system(name, tmp_path, redis_url, temporal_address) as system:
        yield system


async def asked(system: System, *script: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result, and its shadow."""
    request_id = uuid4().hex
    result = await ask(system, said(*script), tools=[WEATHER, OTHER], request_id=request_id)
    return result, await shadow_of(system, request_id)


@pytest.mark.parametrize(
    ("small", "large", "lost", "answer"),
    [
        (PARIS, '<call>w_{"at":"Paris"}</call>', 0.0, 'w({"at":"Paris"})'),
        (PARIS, '<call>w_{"at":"paris"}</call>', 1.0, 'w({"at":"paris"})'),
        (PARIS, ROME, 1.0, 'w({"at": "Rome"})'),
        (PARIS, NOBODY, 1.0, "It is sunny."),
        (NOBODY, PARIS, 1.0, IN_PARIS),
        (NOBODY, "Sun.", 0.0, "Sun."),
    ],
)
async def test_a_shadow_compares_calls_by_what_they_call(
    shadowed: System, small: str, large: str, lost: float, answer: str
) -> None:
    result, shadow = await asked(shadowed, small, small, large)
    assert result["answered_by"] == "slm"
    assert (shadow["lost"], shadow["compared_by"], shadow["agrees"]) == (lost, "match", lost == 0)
    assert shadow["answer"] == answer
    assert shadow["usd_paid"] > 0


async def test_a_call_of_the_large_models_own_is_its_shadow_at_no_cost(shadowed: System) -> None:
    result, shadow = await asked(shadowed, PARIS, ROME, PARIS)
    assert result["answered_by"] == "llm"
    assert (shadow["lost"], shadow["compared_by"], shadow["answer"]) == (0.0, "served", IN_PARIS)
    assert (shadow["agrees"], shadow["usd_paid"]) == (True, 0.0)


@pytest.mark.parametrize("shadowed", ["judged"], indirect=True)
async def test_a_judge_reads_calls_that_differ(shadowed: System) -> None:
    """It is the scripted model, which answers by what stands in the question, and says neither of the two words."""
    _, shadow = await asked(shadowed, PARIS, PARIS, ROME)
    assert (shadow["lost"], shadow["compared_by"]) == (None, "judge")
    assert shadow["usd_judge"] > 0


async def test_calls_that_shadows_contradict_make_the_policy_stricter(shadowed: System) -> None:
    for _ in range(40):
        result, _ = await asked(shadowed, PARIS, PARIS, ROME)
        if result["answered_by"] == "llm":
            break
    assert result["answered_by"] == "llm"
    [standing] = to_dict(await shadowed.client.promises())["policies"]
    assert (standing["task"], standing["step"]) == ("tools", len(standing["changes"]))
