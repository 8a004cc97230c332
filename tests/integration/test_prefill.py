"""The small model prefills a stage that does not suffice while the large one goes on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from uuid import uuid4

import pytest

from tandem import Scored, StageCompleted, to_dict
from tests.conftest import Hold
from tests.integration.asking import ask, generated, idle
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_stage_that_does_not_suffice_is_prefilled_while_the_large_model_goes_on(
    system: System, hold: Hold
) -> None:
    before = system.slm.counters.input_tokens
    at_once = await ask(system, f"[llm_hold=24:{hold} slm_eos=5 scores=0:0.9]")  # suffices at stage 0
    async for event in system.client.solve(f"[llm_hold=24:{hold} slm_eos=5 scores=32:0.9]"):  # at stage 2
        if isinstance(event, Scored) and event.stage == 1:
            while system.slm.counters.input_tokens < before + 2 * at_once["usage"]["slm"]["input_tokens"] + 17:
                await asyncio.sleep(0.01)
            hold.release()
        last = event
    later = to_dict(last.result)
    assert (at_once["stop"]["stage"], later["stop"]["stage"]) == (0, 2)
    assert at_once["usage"]["slm"]["cached_input_tokens"] == 0
    used = later["usage"]["slm"]
    question = at_once["usage"]["slm"]["input_tokens"] + 1  # its script is one letter longer
    # Computed once each: question and two stages. Found cached: the question by stage 1, both by the answer.
    assert (used["input_tokens"], used["cached_input_tokens"]) == (question + 32, question + question + 16)
    assert system.slm.counters.input_tokens - before == at_once["usage"]["slm"]["input_tokens"] + used["input_tokens"]


async def test_a_prefill_that_no_answer_uses_is_on_the_bill(finishing_system: System) -> None:
    before = finishing_system.slm.counters.input_tokens
    result = await ask(finishing_system, "[llm_eos=60 ms=10]")
    assert (result["stop"]["reason"], generated(result["usage"]["slm"])) == ("llm_finished", 0)
    read = result["usage"]["slm"]["input_tokens"]
    assert read == finishing_system.slm.counters.input_tokens - before > 32
    assert result["cost"]["usd_by_role"]["slm"] > 0


@pytest.mark.parametrize("ends", ["answer", "llm_finishes", "cancel"])
async def test_a_prefill_that_waits_delays_nothing(system: System, finishing_system: System, ends: str) -> None:
    scripts = {"answer": "scores=16:0.9", "llm_finishes": "llm_eos=60", "cancel": "llm_hold=20"}
    used = system if ends == "answer" else finishing_system
    began, request_id = time.monotonic(), uuid4().hex
    stream = used.client.solve(f"[ahead_ms=3600000 slm_eos=5 {scripts[ends]}]", request_id=request_id)
    async for event in stream:
        if ends == "cancel" and isinstance(event, StageCompleted):
            await used.client.cancel(request_id)
    assert time.monotonic() - began < 300
    await idle(used)


async def test_a_stage_that_was_never_written_is_not_prefilled(system: System) -> None:
    results = await asyncio.gather(*(ask(system, f"[llm_eos=9 slm_eos=3] {number}") for number in range(20)))
    assert [result["notes"] for result in results if result.get("notes")] == []


async def test_a_prefill_is_part_of_the_wait_for_the_next_stage(system: System) -> None:
    result = await ask(system, "[slm_eos=8] how?")
    history = await system.temporal.get_workflow_handle(result["request_id"]).fetch_history()
    begun = Counter(
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    )
    assert begun == {"wait_and_score": 4, "generate_insight": 1, "execute": 1}
