"""Agents that others wrote, in their default modes: each finishes a task of several turns with real tools, against a
scripted model.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.agents.workshop import Workshop
from tests.integration.conftest import System
from tests.integration.test_sizes import roomy  # noqa: F401

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("roomy")]
STEPS = [
    ("query", {"sql": "select sum(amount) from orders"}),
    ("calculate", {"expression": "100*1.19"}),
    ("save", {"name": "total.txt", "text": "119"}),
]
SAID = "It is 119."
CALLED = [
    "query('select sum(amount) from orders') -> 100.0",
    "calculate('100*1.19') -> 119",
    "save('total.txt', '119') -> 3 characters written",
]
AGENTS = ["pydantic_ai", "openai_agents", "langchain", "anthropic", "litellm", "mcp"]


def script(calls: list[tuple[str, Any]], last: str) -> str:
    texts = [f"<call>{name} {json.dumps(arguments)}</call>" for name, arguments in calls]
    return f"[turns={';;'.join([*texts, last]).replace(' ', '_')}]"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of theirs asks the internet."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")


async def run(http: httpx.AsyncClient, agent: str, task: str, workshop: Workshop, **options: Any) -> str:
    module = importlib.import_module(f"examples.agents.{agent}_agent")
    address = str(http.base_url).rstrip("/")
    answer: str = await asyncio.to_thread(module.run, address, "scripted", task, workshop, **options)
    return answer


@pytest.mark.parametrize("agent", AGENTS)
async def test_an_agent_finishes_a_task_of_four_turns(
    http: httpx.AsyncClient, system: System, agent: str, tmp_path: Path
) -> None:
    workshop = Workshop(tmp_path)
    assert await run(http, agent, script(STEPS, SAID), workshop) == SAID
    assert (tmp_path / "total.txt").read_text() == "119"
    assert workshop.calls == CALLED or agent == "mcp"  # whose calls are in the server's process


async def test_litellm_speaks_anthropics_protocol_too(http: httpx.AsyncClient, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    assert await run(http, "litellm", script(STEPS, SAID), workshop, protocol="anthropic") == SAID
    assert workshop.calls == CALLED


async def test_instructor_takes_each_step_as_a_call(http: httpx.AsyncClient, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    steps = [("Step", {"action": name, **arguments}) for name, arguments in STEPS]
    task = script([*steps, ("Step", {"action": "finish", "text": SAID})], "")
    assert await run(http, "instructor", task, workshop) == SAID
    assert workshop.calls == CALLED


RECORDED = {file.stem: file.read_text() for file in Path(__file__).parents[1].glob("fixtures/agents/*.json")}
"""Bodies that Claude Code 2.1.197 and Codex 0.171 sent by themselves; long texts are cut, names and ids replaced."""


@pytest.mark.parametrize("name", sorted(RECORDED))
async def test_what_coding_agents_send_is_taken_and_what_is_not_followed_is_named(
    http: httpx.AsyncClient, name: str
) -> None:
    sent = json.loads(RECORDED[name]) | {"model": "scripted@1"}
    path = "/v1/responses" if "input" in sent else "/v1/messages"
    for is_stream in (False, True):
        reply = await http.post(path, json=sent | {"stream": is_stream})
        assert reply.status_code == 200, reply.text
        dropped = set(reply.headers["x-tandem-dropped"].split(", "))
        assert {"output_config.effort"} <= dropped if "messages" in sent else {"prompt_cache_key"} <= dropped
        assert f"not followed: {reply.headers['x-tandem-dropped']}" in reply.text
