"""POST /v1/responses: the same request in OpenAI's newer dialect."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.integration.edge import ask

pytestmark = pytest.mark.asyncio(loop_scope="session")
SCRIPT = "[scores=16:0.9 llm=word_ slm=more_ slm_eos=9]"


async def respond(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
    return await http.post("/v1/responses", json={"model": "scripted@0.8", "input": SCRIPT, **more})


async def events(http: httpx.AsyncClient, **more: Any) -> list[dict[str, Any]]:
    reply = await respond(http, stream=True, **more)
    pairs = [block.split("\n") for block in reply.text.split("\n\n") if block and not block.startswith(":")]
    data = [json.loads(line.removeprefix("data: ")) for _, line in pairs]
    assert [name for name, _ in pairs] == [f"event: {event['type']}" for event in data]
    assert [event["sequence_number"] for event in data] == list(range(len(data)))
    return data


async def test_a_response_is_the_completion_in_other_words(http: httpx.AsyncClient) -> None:
    response = (await respond(http, instructions="Be brief.")).json()
    said = (await ask(http, SCRIPT)).json()
    reasoning, message = response["output"]
    assert message["content"][0]["text"] == said["choices"][0]["message"]["content"]
    assert reasoning["content"][0]["text"].startswith("word word word w")
    assert (response["status"], response["tandem"]["stop"]) == ("completed", said["tandem"]["stop"])
    usage = response["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


async def test_the_events_of_a_stream_end_in_the_response(http: httpx.AsyncClient) -> None:
    seen = await events(http)
    assert [event["type"] for event in seen[:2]] == ["response.created", "response.in_progress"]
    final = seen[-1]
    assert final["type"] == "response.completed"
    for item in final["response"]["output"]:
        own = [event for event in seen if event.get("item_id") == item["id"]]
        deltas = "".join(event["delta"] for event in own if event["type"].endswith(".delta"))
        assert deltas == item["content"][0]["text"] != ""
        kinds = [event["type"].rpartition(".")[2] for event in own if not event["type"].endswith(".delta")]
        assert kinds == ["added", "done", "done"]


async def test_a_final_value_stands_beside_the_text_that_was_written(http: httpx.AsyncClient) -> None:
    seen = await events(http, input=r"[scores=0:0.9 slm=\boxed{7}_ slm_eos=10]", tandem={"task": "answer"})
    [item] = [item for item in seen[-1]["response"]["output"] if item["type"] == "message"]
    assert item["content"][0]["text"] == r"\boxed{7}"
    assert seen[-1]["response"]["tandem"]["answer"] == "7"


async def test_an_answer_that_comes_at_the_end_has_its_item_too(http: httpx.AsyncClient) -> None:
    seen = await events(http, input=r"[scores=0:0.9 slm=pass slm_eos=5]", tandem={"task": "code"})
    [item] = [item for item in seen[-1]["response"]["output"] if item["type"] == "message"]
    assert item["content"][0]["text"] == "pass"
    assert "answer" not in seen[-1]["response"]["tandem"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"background": True}, "background"),  # the reader's; tests/unit/test_http_bodies.py has the others
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools"),
        ({"input": [{"type": "function_call_output", "call_id": "call_1", "output": "x"}]}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[].content[type=input_image]",
        ),
        ({"input": "x" * 601}, "input"),
        ({"text": {"format": {"type": "json_schema", "name": "a", "schema": {"not": {}}}}}, "text.format"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_the_dialects_own_name(
    http: httpx.AsyncClient, more: dict[str, Any], param: str
) -> None:
    reply = await respond(http, **more)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


async def test_an_error_in_a_stream_is_an_event(http: httpx.AsyncClient) -> None:
    last = (await events(http, input="[fail=slm scores=16:0.9 ms=20]"))[-1]
    assert (last["type"], last["code"]) == ("error", "slm_unavailable")
