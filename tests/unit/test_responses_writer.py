"""The engine of OpenAI's Responses protocol against recorded streams: what it sends, reads, counts and passes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.models.engine.api import ApiBadReply, ApiUnavailable, Finished, FinishReason
from services.models.engine.remote.api_writer import CONTINUE
from services.models.engine.remote.responses_writer import ResponsesWriter
from services.models.engine.writer import Earlier, Writing
from tandem.method.profile.endpoint import Capabilities
from tandem.method.tokens import TokenCounts
from tandem.method.tools import Tool, ToolUse
from tandem.openai.responses_reply import PassedItems
from tests.recorded_api import (
    Answer,
    recorded_api,
    responses_call,
    responses_events,
    responses_text,
    responses_usage,
)
from tests.unit.test_api_engines import answers, request, started, whole

ABLE = Capabilities(tools=True, json_schema=True)
TOLD = responses_events([responses_text("It is 42.")], responses_usage(20, 5, cached=12, reasoning=2))
CODEX: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "agents" / "codex-turn-3.json").read_text()
)


async def written(work: Writing, *given: Answer, can: Capabilities = ABLE) -> tuple[str, Finished, dict[str, Any]]:
    """Text and end, and what the API was sent."""
    with recorded_api(answers(*given or [Answer(events=TOLD)])) as api:
        engine = started(ResponsesWriter, api, can, 0.5)
        try:
            text, _, end = await whole(engine, work)
        finally:
            engine.stop()
    assert api.asked[0][0] == "/v1/responses"
    return text, end, api.asked[0][1]


async def test_a_stream_is_counted_as_its_last_event_says() -> None:
    text, end, sent = await written(request())
    assert (text, end.reason) == ("It is 42.", FinishReason.EOS)
    assert end.usage == TokenCounts(prompt=8, cached=12, completion=5)
    said = [{"role": "user", "content": "why?"}]
    own = {"model": "m", "stream": True, "store": False, "max_output_tokens": 64}
    assert sent == {"input": said, "instructions": "Be brief.", **own}


async def test_calls_and_thoughts_are_read_and_what_an_api_reports_of_its_cut_is_a_cut() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VjcmV0"}
    items = [thought, responses_text("I look. ", 1), responses_call(2, "clock", '{"at": 1}')]
    work = replace(request(), tools=ToolUse((Tool("clock"),)), may_call=True)
    events = responses_events(items, responses_usage(20, 9))
    thinks = {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Hm"}
    events.insert(2, (thinks["type"], thinks))  # type: ignore[arg-type]
    _, end, _ = await written(work, Answer(events=events))
    assert (end.usage.completion, "clock" in end.text) == (9, True)
    cut = responses_events([responses_text("It is")], responses_usage(20, 2), ends="incomplete")
    text, end, _ = await written(request(), Answer(events=cut))
    assert (text, end.reason) == ("It is", FinishReason.LENGTH)


async def test_of_codexs_own_body_only_model_stream_and_cap_change_and_the_items_come_back() -> None:
    body = {name: value for name, value in CODEX.items() if name not in ("model", "stream")}
    with recorded_api(answers(Answer(events=TOLD))) as api:
        engine = started(ResponsesWriter, api, ABLE)
        native: list[str] = []
        await whole(engine, replace(request(), native=body, on_event=native.append))
        engine.stop()
    assert api.asked[0][1] == {**CODEX, "model": "m", "max_output_tokens": 64}
    events = [json.loads(event) for event in native]
    assert events[1:-1] == [event for _, event in TOLD[1:-1]]
    ended = TOLD[-1][1]["response"]
    assert [event["response"]["status"] for event in (events[0], events[-1])] == ["in_progress", "completed"]
    assert events[-1]["response"] == {name: value for name, value in ended.items() if name != "output"}


async def test_a_lost_attempts_text_stands_behind_the_callers_own_items() -> None:
    work = replace(request(), native={"input": "Why?", "temperature": 1}, earlier=Earlier("The answer", (0, 0)))
    _, _, sent = await written(work, can=Capabilities(takes_temperature=False))
    assert [(item["role"], item["content"]) for item in sent["input"]] == [
        ("user", "Why?"),
        ("assistant", "The answer"),
        ("user", CONTINUE),
    ]
    assert "temperature" not in sent


@pytest.mark.parametrize(
    ("last", "error", "says"),
    [
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "oops"}}},
         ApiUnavailable, "oops"),
        ({"type": "error", "code": "x", "message": "too busy"}, ApiUnavailable, "too busy"),
        ({"type": "response.completed"}, ApiBadReply, "has no response"),
        ({"type": "response.output_text.delta", "output_index": 0, "delta": 7}, ApiBadReply, "delta"),
        (None, ApiUnavailable, "closed its stream"),
    ],
)  # fmt: skip
async def test_a_stream_that_fails_or_is_cut_is_no_answer(
    last: dict[str, Any] | None, error: type[Exception], says: str
) -> None:
    events = [*TOLD[:-1], *([(last["type"], last)] if last else [])]
    with pytest.raises(error, match=says) as raised:
        await written(request(), Answer(events=events, closes=True))
    if error is ApiUnavailable:
        assert raised.value.prompt_tokens == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize("item", [responses_text("It is"), responses_call(0, "clock", '{"at": 1}')])
def test_an_item_that_a_limit_cut_is_incomplete(item: dict[str, Any]) -> None:
    """After the first of two pieces."""
    events = [json.dumps(event) for _, event in responses_events([item], {})]
    items = PassedItems()
    assert len(items.push(events[:3])) == 2
    [ended] = items.last()
    assert [ended["item"]] == items.output
    cut = ended["item"]["arguments"] if item["type"] == "function_call" else ended["item"]["content"][0]["text"]
    assert (ended["type"], ended["item"]["status"]) == ("response.output_item.done", "incomplete")
    assert cut == ('{"at"' if item["type"] == "function_call" else "It ")
