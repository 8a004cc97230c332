"""What a vendor says of its reply reaches a caller of its protocol through gateway, worker, model service and Redis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.caching_api import CachingApi
from tests.integration.test_own_body import pair
from tests.recorded_api import Answer, openai_chunks, openai_usage
from tests.vendor_replies import VENDOR, Data, missing

pytestmark = pytest.mark.asyncio(loop_scope="session")
PATHS = {"chat": "chat/completions", "messages": "messages", "responses": "responses"}
PROTOCOLS = {"chat": "openai", "messages": "anthropic", "responses": "responses"}
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}


def events_of(text: str) -> list[Data]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize("protocol", VENDOR)
async def test_every_field_of_a_vendors_reply_comes_through_streamed_and_whole(
    redis_url: str, temporal_address: str, tmp_path: Path, protocol: str
) -> None:
    vendors, whole = VENDOR[protocol]

    def answer(path: str, body: dict[str, Any]) -> Answer:
        if "/models" in path:
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        return Answer(events=[(event.get("type", ""), event) for event in vendors])

    sent: Data = {"model": f"scripted-own-{PROTOCOLS[protocol]}/large"}
    if protocol == "responses":
        sent |= {"input": "Go"}
    else:
        sent |= {"messages": [{"role": "user", "content": "Go"}], "max_tokens": 60}
    if protocol == "chat":
        sent |= {"tools": [{"type": "function", "function": FUNCTION}], "stream_options": {"include_usage": True}}
    async with pair(PROTOCOLS[protocol], answer, tmp_path, redis_url, temporal_address) as (http, _):
        got = await http.post(f"/v1/{PATHS[protocol]}", json={**sent, "stream": False})
        events = events_of((await http.post(f"/v1/{PATHS[protocol]}", json={**sent, "stream": True})).text)
    assert not list(missing(whole, got.json()))
    assert len(events) == len(vendors), events
    assert not [lost for event, shown in zip(vendors, events, strict=True) for lost in missing(event, shown)]


SPACED = ['{ "name":', ' "Ada",\n', '  "age": 36}']


@pytest.mark.parametrize("name", ["/large", ""])
async def test_json_that_the_apis_own_model_is_held_to_comes_as_that_wrote_it_while_it_is_written(
    redis_url: str, temporal_address: str, tmp_path: Path, name: str
) -> None:
    def answer(path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
        return Answer(events=openai_chunks(SPACED, openai_usage(20, 9)))

    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}
    sent = {"messages": [{"role": "user", "content": "Ada is 36"}], "response_format": form}
    finishes = 'otherwise = "llm_finishes"\ntasks = ["chat"]\n'
    async with pair("openai", answer, tmp_path, redis_url, temporal_address, stop=finishes) as (http, api):
        sent["model"] = f"scripted-own-openai{name}"
        whole = (await http.post("/v1/chat/completions", json=sent)).json()
        events = events_of((await http.post("/v1/chat/completions", json={**sent, "stream": True})).text)
        assert api.asked[0][1]["messages"] == sent["messages"]
        assert api.asked[0][1]["response_format"] == form
    message = whole["choices"][0]["message"]
    assert message["content"] == "".join(SPACED)
    assert "reasoning_content" not in message
    assert whole["tandem"]["checks"] == []
    assert [delta["content"] for event in events if (delta := event["choices"][0]["delta"]).get("content")] == SPACED


async def test_what_only_the_large_model_was_to_follow_is_named_where_a_small_one_answers(
    redis_url: str, temporal_address: str, tmp_path: Path
) -> None:
    vendor = CachingApi()
    sent = {
        "model": "scripted-own-anthropic@0.5", "max_tokens": 30, "thinking": {"type": "adaptive"},
        "messages": [{"role": "user", "content": "[slm=small_ slm_eos=6 scores=0:0.9]"}],
    }  # fmt: skip
    async with pair("anthropic", vendor.answer, tmp_path, redis_url, temporal_address) as (http, api):
        small = await http.post("/v1/messages", json=sent)
        events = events_of((await http.post("/v1/messages", json={**sent, "stream": True})).text)
        assert not api.asked
        large = await http.post("/v1/messages", json={**sent, "model": "scripted-own-anthropic/large"})
        assert api.asked[0][1]["thinking"] == {"type": "adaptive"}
    assert small.json()["content"] == [{"type": "text", "text": "small"}]
    assert small.headers["x-tandem-dropped"] == "thinking"
    assert "not followed: thinking" in small.json()["tandem"]["notes"]
    assert "not followed: thinking" in events[-2]["tandem"]["notes"]
    assert "x-tandem-dropped" not in large.headers
    assert not [note for note in large.json()["tandem"]["notes"] if "thinking" in note]
