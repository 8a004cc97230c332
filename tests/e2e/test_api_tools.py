"""Tools through `tandem up` with two endpoints: each turn of an agent is the API's own call, on the bill as it
reports.
"""

# ruff: noqa: F811

from __future__ import annotations

import json
from typing import Any

import pytest

from tandem import Client, Completed
from tandem.client.tools import calls_as_data
from tandem.errors import RequestError
from tandem.v1 import tandem_pb2
from tests.e2e.test_api_stack import LARGE, SMALL, Endpoints, api, api_stack, client, endpoints, lean  # noqa: F401
from tests.recorded_api import Answer, RecordedApi, openai_call, openai_chunks, openai_usage

pytestmark = pytest.mark.timeout(600)
PARAMETERS = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
TOOLS = [{"name": "weather", "description": "Tells it.", "parameters": PARAMETERS}]
PIECES = ["", '{"at":', ' "Paris"}']
SUN: list[dict[str, Any]] = [{"role": "user", "content": "Sun?"}]


def calling(pieces: list[str] = PIECES, name: str = "weather", **more: Any) -> Answer:
    usage = None if more else openai_usage(30, 9)
    finish = None if more else "tool_calls"
    deltas = openai_call(0, name, pieces)
    return Answer(events=openai_chunks(["I look."], usage, finish=finish, model=LARGE, deltas=deltas), **more)


def asked(client: Client, said: list[dict[str, Any]], **options: Any) -> tandem_pb2.SolveResult:
    *_, last = client.solve(said, tools=TOOLS, **options)
    assert isinstance(last, Completed)
    return last.result


def test_an_agent_takes_two_turns_and_both_are_on_the_bill(
    client: Client, endpoints: Endpoints, api: RecordedApi
) -> None:
    endpoints.next[LARGE] = [calling()]
    first = asked(client, SUN)
    assert (first.answer, [(call.name, json.loads(call.arguments)) for call in first.tool_calls]) == (
        "I look.", [("weather", {"at": "Paris"})]
    )  # fmt: skip
    assert (first.usage.llm.input_tokens, first.usage.llm.output_tokens) == (30, 9)
    assert not first.usage.llm.is_estimated
    calls = calls_as_data(first.tool_calls)
    said = [*SUN, {"role": "assistant", "content": first.answer, "tool_calls": calls}]
    second = asked(client, [*said, {"role": "tool", "tool_call_id": calls[0]["id"], "content": "rain"}])
    assert (second.answer, list(second.tool_calls)) == ("It is 42.", [])
    _, body = api.asked[-1]
    assert [message["role"] for message in body["messages"][-3:]] == ["user", "assistant", "tool"]
    assert body["messages"][-1]["tool_call_id"] == body["messages"][-2]["tool_calls"][0]["id"]
    assert endpoints.asked == [LARGE, LARGE]


def test_a_small_model_alone_calls_through_its_api(client: Client, endpoints: Endpoints) -> None:
    endpoints.next[SMALL] = [calling()]
    result = asked(client, SUN, max_llm_tokens=0)
    assert (len(result.tool_calls), endpoints.asked, result.answered_by) == (1, [SMALL], tandem_pb2.ROLE_SLM)


def test_an_api_that_hangs_in_a_call_is_asked_again_and_leaves_one_call(client: Client, endpoints: Endpoints) -> None:
    endpoints.next[LARGE] = [calling(PIECES[:2], hangs=True), calling()]
    result = asked(client, SUN)
    assert [json.loads(call.arguments) for call in result.tool_calls] == [{"at": "Paris"}]
    assert endpoints.asked == [LARGE] * 2
    usage = result.usage.llm
    assert (usage.output_tokens, usage.discarded_tokens, usage.is_estimated) == (9, 2, True)


def test_a_call_of_no_tool_is_not_the_answer(client: Client, endpoints: Endpoints) -> None:
    """And no other model's is: it fails as the large model did."""
    endpoints.next[LARGE] = [calling(name="other")] * 9
    with pytest.raises(RequestError, match="'other', which is no tool"):
        asked(client, SUN)
    assert endpoints.asked == [LARGE]
