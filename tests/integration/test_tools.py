"""Tools through a real gateway, Temporal and Redis: who writes the call, why, and what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.models.engine.api import GenerationRequest
from tandem import Completed, RequestError, to_dict
from tandem.client.live_text import LiveText
from tandem.client.tools import calls_as_data
from tandem.method.request.events import AnswerText
from tandem.v1 import tandem_pb2
from tests.conftest import Hold
from tests.integration.asking import ask
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")
PARAMETERS = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
WEATHER = {"type": "function", "function": {"name": "w", "description": "Tells it.", "parameters": PARAMETERS}}
PARIS, ROME = '<call>w_{"at":_"Paris"}</call>', '<call>w_{"at":_"Rome"}</call>'


def script(slm: str = PARIS, llm: str = ROME, more: str = "") -> list[dict[str, Any]]:
    content = f"[slm={slm} slm_eos={len(slm) + 1} llm={llm} llm_eos={len(llm) + 1} {more}]"
    return [{"role": "user", "content": content}]


def called(result: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(call["name"], json.loads(call["arguments"])) for call in result["tool_calls"]]


async def test_the_large_model_writes_the_call_and_the_small_one_is_not_asked(system: System) -> None:
    result = await ask(system, script(), tools=[WEATHER])
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Rome"})], "llm")
    assert (result["answer"], result["complete"], result["stop"]["reason"]) == ("", True, "llm_finished")
    assert (result["usage"]["slm"]["output_tokens"], result["stages"]) == (0, [])
    assert result["usage"]["llm"]["output_tokens"] == len(ROME) + 1


async def test_text_and_several_calls_come_in_one_answer(system: System) -> None:
    result = await ask(system, script(llm=f"Hm.{PARIS}{ROME}"), tools=[WEATHER])
    assert result["answer"] == "Hm."
    assert called(result) == [("w", {"at": "Paris"}), ("w", {"at": "Rome"})]
    assert len({call["id"] for call in result["tool_calls"]}) == 2


async def test_where_the_large_model_may_not_write_the_small_models_call_is_used(system: System) -> None:
    result = await ask(system, script(), tools=[WEATHER], max_llm_tokens=0)
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Paris"})], "slm")
    assert result["usage"]["slm"]["output_tokens"] == len(PARIS) + 1


async def test_a_large_model_that_fails_leaves_the_call_to_the_small_one(system: System) -> None:
    result = await ask(system, script(more="fail=llm"), tools=[WEATHER])
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Paris"})], "slm")
    assert result["stop"]["reason"] == "llm_unavailable"


async def test_a_call_that_was_cut_is_no_call_and_the_answer_is_not_complete(system: System) -> None:
    result = await ask(system, script(), tools=[WEATHER], max_answer_tokens=20)
    assert (called(result), result["complete"]) == ([], False)


async def test_a_conversation_of_three_turns_goes_on_from_calls_and_results(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    generate = type(system.slm).generate

    def recorded(generation: GenerationRequest) -> Any:
        read.append(system.slm.tokenizer.decode(generation.prompt_ids))
        return generate(system.slm, generation)

    monkeypatch.setattr(system.slm, "generate", recorded)
    said = script()
    for content in (f"[slm={ROME} slm_eos={len(ROME) + 1}]", "[llm=Sun. llm_eos=5]"):
        result = await system.client.ask(said, tools=[WEATHER], max_llm_tokens=0)
        [call] = calls_as_data(result.tool_calls)
        said += [
            {"role": "assistant", "content": result.answer, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": content},
        ]
    last = to_dict(await system.client.ask(said, tools=[WEATHER]))
    assert (last["answer"], last["tool_calls"], last["question"]) == ("Sun.", [], "[llm=Sun. llm_eos=5]")
    assert read[1].startswith(read[0].removesuffix("\nassistant: ") + "assistant: " + PARIS.replace("_", " "))


async def test_readers_get_calls_with_the_result(system: System) -> None:
    events = [event async for event in system.client.solve(script(), tools=[WEATHER])]
    assert isinstance(events[-1], Completed)
    stored = await system.client.get(events[-1].result.request_id)
    assert stored.result.tool_calls == events[-1].result.tool_calls


async def test_a_reader_hears_how_much_of_a_text_is_no_call_before_the_call_is_whole(
    system: System, hold: Hold
) -> None:
    said, live = script(llm=f"Hm.{PARIS}", more=f"llm_hold=12:{hold}"), LiveText(AnswerText.MESSAGE)
    shown = ""
    async for event in system.client.solve(said, tools=[WEATHER]):
        shown += live.push(event).content
        if shown == "Hm.":
            hold.release()
    assert (shown, isinstance(event, Completed)) == ("Hm.", True)


async def test_tools_that_may_not_be_called_are_read_and_the_answer_is_a_text(system: System) -> None:
    said = script(slm="Sun.", more="scores=0:0.9")
    result = await ask(system, said, tools=[WEATHER], tool_choice="none", threshold=0.8)
    assert (result["answer"], result["tool_calls"], result["stages"][0]["scorer"]) == ("Sun.", [], "untrained")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"tools": [WEATHER], "tool_choice": "other"}, "tool_choice"),
        ({"tools": [WEATHER], "task": "answer"}, "task"),
        ({"tools": [WEATHER], "json_schema": '{"multipleOf": 9999991}'}, "json_schema"),
        ({"tools": [WEATHER], "checks": ["regex:a"]}, "checks"),
        ({"tools": [WEATHER], "threshold": 0.9}, "stop.thresholds"),
        ({"tools": [{"name": "f", "parameters": {"properties": {"n": {"multipleOf": 9999991}}}}]}, "tools"),
        ({"tools": [{"name": "f", "parameters": {"not": {}}, "strict": True}]}, "tools"),
    ],
)
async def test_tools_that_cannot_be_called_are_refused_by_their_name(
    system: System, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(RequestError) as refused:
        await ask(system, script(), **options)
    assert refused.value.field == field


async def test_an_answer_that_calls_no_tool_may_be_asked_to_follow_a_schema(system: System) -> None:
    """Both models are told by the system's message, and held to it (tests/unit/test_tool_grammar.py)."""
    schema = '{"type": "object", "properties": {"sun": {"type": "boolean"}}}'
    said = script(llm='{"sun":true}')
    result = await ask(system, said, tools=[WEATHER], json_schema=schema)
    assert (result["answer"], result["tool_calls"]) == ('{"sun":true}', [])
    assert called(await ask(system, script(), tools=[WEATHER], json_schema=schema)) == [("w", {"at": "Rome"})]


async def test_a_repeated_request_gets_the_same_calls(system: System) -> None:
    first, again = [await system.client.ask(script(), tools=[WEATHER], request_id="tools-again") for _ in range(2)]
    assert first.tool_calls == again.tool_calls
    assert first.answered_by == tandem_pb2.ROLE_LLM
    with pytest.raises(RequestError, match="another"):
        await system.client.ask(script(), request_id="tools-again")
