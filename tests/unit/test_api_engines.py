"""The engines of APIs against recorded conversations: counts, refusals, and a server that limits, hangs, closes early
or lies.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.models.engine.api import (
    ApiRefused,
    ApiUnavailable,
    EngineError,
    Finished,
    FinishReason,
    QueueFull,
)
from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.api_writer import CONTINUE, ApiSettings, ApiWriter
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.remote.responses_writer import ResponsesWriter
from services.models.engine.writer import Earlier, Writing
from services.shared.process.status import from_engine
from tandem.method.errors import ResourceExhausted
from tandem.method.profile.endpoint import Capabilities
from tandem.method.tokens import Sampling, TokenCounts
from tandem.openai.messages_reply import PassedBlocks, blocks_of
from tests.conversations import conversation
from tests.recorded_api import (
    Answer,
    Events,
    RecordedApi,
    anthropic_call,
    anthropic_events,
    openai_chunks,
    openai_usage,
    recorded_api,
    responses_events,
    responses_text,
    responses_usage,
)

TEXTS = ["The ", "answer ", "is 42."]
KINDS: list[type[ApiWriter]] = [OpenAIWriter, AnthropicWriter, ResponsesWriter]
WHOLE: dict[type[ApiWriter], Events] = {
    OpenAIWriter: openai_chunks(TEXTS, openai_usage(20, 5)),
    AnthropicWriter: anthropic_events(TEXTS, 20, 5),
    ResponsesWriter: responses_events([responses_text("".join(TEXTS))], responses_usage(20, 5), pieces=3),
}
BEGUN: dict[type[ApiWriter], Events] = {
    OpenAIWriter: openai_chunks(TEXTS, None, finish=None),
    AnthropicWriter: anthropic_events(TEXTS, 10, 9)[:6],
    ResponsesWriter: WHOLE[ResponsesWriter][:5],
}
"""Streams of three pieces, and as far as the last of them."""
MODELS = Answer({"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "o"}]})
CLAUDE = Answer({"id": "m", "type": "model", "display_name": "M", "created_at": "2026-01-01T00:00:00Z"})


def answers(*given: Answer, kind: type[ApiWriter] = OpenAIWriter) -> Callable[[str, dict[str, Any]], Answer]:
    """One after the other, the last one for ever."""
    left = list(given)

    def answer(path: str, _: dict[str, Any]) -> Answer:
        if "/models" in path:
            return CLAUDE if kind is AnthropicWriter else MODELS
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def started(
    kind: type[ApiWriter], api: RecordedApi, can: Capabilities | None = None, silent: float = 20.0
) -> ApiWriter:
    url = api.url if kind is AnthropicWriter else f"{api.url}/v1"
    engine = kind(ApiSettings("m", url, "a-key", can=can or Capabilities(), timeout_seconds=silent))
    engine.start()
    return engine


def request(turns: list[tuple[str, str]] | None = None, begun: str = "", most: int = 64) -> Writing:
    return Writing("r", conversation(*turns or [("system", "Be brief."), ("user", "why?")], begun=begun), most)


async def whole(engine: ApiWriter, work: Writing) -> tuple[str, int, Finished]:
    text, tokens = "", 0
    async for item in engine.write(work):
        if isinstance(item, Finished):
            return text, tokens, item
        text, tokens = text + item.text, tokens + 1
    raise AssertionError


async def collect(engine: ApiWriter, seen: list[Any]) -> None:
    async for item in engine.write(request()):
        seen.append(item)


async def test_openais_stream_is_counted_as_its_last_chunk_says() -> None:
    with recorded_api(answers(Answer(events=openai_chunks(TEXTS, openai_usage(20, 5, cached=12))))) as api:
        engine = started(OpenAIWriter, api)
        text, tokens, end = await whole(engine, request())
        engine.stop()
    assert (text, tokens) == ("The answer is 42.", 5)
    assert end.usage == TokenCounts(prompt=8, cached=12, completion=5)
    body = api.asked[0][1]
    assert body["stream_options"] == {"include_usage": True}
    assert body["max_tokens"] == 64


def with_server_tools(reported: dict[str, Any] | None) -> Events:
    """Anthropic's stream of an answer that was searched for: two searches and a fetch."""
    names = ["web_search", "web_fetch", "web_search"]
    blocks = [
        {"index": n, "content_block": {"type": "server_tool_use", "id": f"srvtoolu_{n}", "name": name, "input": {}}}
        for n, name in enumerate(names, 1)
    ]
    starts = [("content_block_start", {"type": "content_block_start", **block}) for block in blocks]
    events = anthropic_events(TEXTS, 20, 5, blocks=starts)
    if reported is not None:
        events[-2][1]["usage"]["server_tool_use"] = reported
    return events


SEARCHED = [
    {"type": f"{name}_call", "id": f"ws_{n}", "status": "completed"}
    for n, name in enumerate(["web_search", "code_interpreter", "web_search", "custom_tool"])
]


@pytest.mark.parametrize(
    ("kind", "events", "uses"),
    [
        (AnthropicWriter, with_server_tools(None), {"web_search": 2, "web_fetch": 1}),
        # a search that failed is not billed
        (AnthropicWriter, with_server_tools({"web_search_requests": 1, "x": {}}), {"web_search": 1, "web_fetch": 1}),
        (AnthropicWriter, with_server_tools({"web_search_requests": 0}), {"web_fetch": 1}),
        (AnthropicWriter, with_server_tools({"web_search_requests": 1 << 40}), {"web_search": 2, "web_fetch": 1}),
        (
            ResponsesWriter,
            responses_events([*SEARCHED, responses_text("".join(TEXTS), 4)], responses_usage(20, 5)),
            {"web_search": 2, "code_interpreter": 1},
        ),
        (
            OpenAIWriter,
            openai_chunks(TEXTS, openai_usage(20, 5) | {"server_tool_use": {"web_search_requests": 3}}),
            {"web_search": 3},
        ),
        (OpenAIWriter, openai_chunks(TEXTS, openai_usage(20, 5)), {}),
    ],
)
async def test_the_apis_own_tools_are_counted_as_it_reports_them_and_else_as_they_came(
    kind: type[ApiWriter], events: Events, uses: dict[str, int]
) -> None:
    with recorded_api(answers(Answer(events=events), kind=kind)) as api:
        engine = started(kind, api)
        _, _, end = await whole(engine, request())
        engine.stop()
    assert end.usage == TokenCounts(prompt=20, completion=5, tool_uses=uses)


async def test_the_own_tools_of_a_stream_that_is_aborted_are_counted_as_far_as_they_came() -> None:
    events = with_server_tools(None)
    begun = [events[0], events[7], *events[1:6]]  # a search, and three pieces of text
    with recorded_api(answers(Answer(events=begun, hangs=True), kind=AnthropicWriter)) as api:
        engine, seen = started(AnthropicWriter, api), list[Any]()
        running = asyncio.create_task(collect(engine, seen))
        while len(seen) < 3:
            await asyncio.sleep(0.01)
        engine.abort("r")
        await running
        engine.stop()
    assert seen[-1].usage.tool_uses == {"web_search": 1}


@pytest.mark.parametrize(
    ("sampling", "openai", "anthropic"),
    [
        (Sampling(), {}, {}),
        (Sampling(0.0), {"temperature": 0.0}, {"temperature": 0.0}),
        (Sampling(1.5, 0.5, 3), {"temperature": 1.5, "top_p": 0.5, "seed": 3}, {"temperature": 1.0, "top_p": 0.5}),
    ],
)
async def test_an_api_is_told_of_drawing_what_was_said_and_nothing_else(
    sampling: Sampling, openai: dict[str, float], anthropic: dict[str, float]
) -> None:
    for kind, events, expected in (
        (OpenAIWriter, openai_chunks(TEXTS, openai_usage(20, 5)), openai),
        (AnthropicWriter, anthropic_events(TEXTS, 20, 5), anthropic),
    ):
        with recorded_api(answers(Answer(events=events), kind=kind)) as api:
            engine = started(kind, api)
            await whole(engine, replace(request(), sampling=sampling))
            engine.stop()
        sent = api.asked[0][1]
        assert {name: sent[name] for name in ("temperature", "top_p", "seed") if name in sent} == expected


async def test_a_model_that_thinks_gets_its_limit_by_the_newer_name_and_no_temperature() -> None:
    with recorded_api(answers(Answer(events=openai_chunks(TEXTS, openai_usage(20, 5))))) as api:
        can = Capabilities(limit_name="max_completion_tokens", takes_temperature=False)
        engine = started(OpenAIWriter, api, can)
        await whole(engine, request())
        engine.stop()
    assert api.asked[0][1]["max_completion_tokens"] == 64
    assert not {"max_tokens", "temperature"} & api.asked[0][1].keys()


async def test_openais_api_is_given_the_stop_strings_and_ends_at_the_token_itself() -> None:
    with recorded_api(answers(Answer(events=openai_chunks(TEXTS, openai_usage(20, 5))))) as api:
        engine = started(OpenAIWriter, api)
        await whole(engine, replace(request(), stop_strings=("###", "\n\n")))
        await whole(engine, request())
        engine.stop()
    assert [body.get("stop", "none") for _, body in api.asked] == [["###", "\n\n"], "none"]


async def test_vllms_flag_continues_a_begun_turn() -> None:
    with recorded_api(answers(Answer(events=openai_chunks(TEXTS, openai_usage(20, 3))))) as api:
        engine = started(OpenAIWriter, api, Capabilities(continues="flag"))
        await whole(engine, request(begun="The best "))
        engine.stop()
    body = api.asked[0][1]
    assert body["messages"][-1] == {"role": "assistant", "content": "The best "}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


async def test_anthropics_stream_is_counted_with_what_it_cached() -> None:
    events = anthropic_events(TEXTS, 10, 6, cached=100, written=7)
    with recorded_api(answers(Answer(events=events), kind=AnthropicWriter)) as api:
        engine = started(AnthropicWriter, api)
        text, tokens, end = await whole(engine, request())
        engine.stop()
    assert (text, tokens, end.reason) == ("The answer is 42.", 6, FinishReason.EOS)
    assert end.usage == TokenCounts(prompt=17, cached=100, completion=6, written=7)
    path, body = api.asked[0]
    assert path == "/v1/messages"
    assert body["system"] == "Be brief."
    assert body["messages"] == [{"role": "user", "content": "why?"}]
    assert api.headers[0]["anthropic-version"] == "2023-06-01"
    assert "a-key" in str(api.headers[0])


@pytest.mark.parametrize(("continues", "last"), [("last_message", "assistant"), ("no", "user")])
async def test_claude_continues_where_it_takes_a_prefill_and_is_asked_in_words_elsewhere(
    continues: Any, last: str
) -> None:
    with recorded_api(answers(Answer(events=anthropic_events(TEXTS, 10, 3)), kind=AnthropicWriter)) as api:
        engine = started(AnthropicWriter, api, Capabilities(continues=continues))
        await whole(engine, request(begun="The best "))
        engine.stop()
    messages = api.asked[0][1]["messages"]
    assert messages[-1]["role"] == last
    assert messages[1] == {"role": "assistant", "content": "The best" if last == "assistant" else "The best "}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_storm_of_limits_asks_once_and_says_when_to_come_back(kind: type[ApiWriter]) -> None:
    error = {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down", "code": "rate_limit_exceeded"},
    }
    with recorded_api(answers(Answer(error, status=429, headers={"retry-after": "9"}), kind=kind)) as api:
        engine = started(kind, api)
        waits = []
        for _ in range(20):
            with pytest.raises(QueueFull) as refused:
                await whole(engine, request())
            waits.append(refused.value.retry_after_s)
        engine.stop()
    assert len(api.asked) == 1
    assert all(wait is not None and 8 < wait < 12 for wait in waits)
    told = from_engine(refused.value)
    assert isinstance(told, ResourceExhausted)
    assert told.retry_after_s == waits[-1]


async def test_an_account_without_means_is_a_refusal_and_not_tried_again() -> None:
    error = {
        "error": {
            "message": "You exceeded your current quota",
            "type": "insufficient_quota",
            "code": "insufficient_quota",
        }
    }
    with recorded_api(answers(Answer(error, status=429))) as api:
        engine = started(OpenAIWriter, api)
        with pytest.raises(ApiRefused, match="no means left"):
            await whole(engine, request())
        engine.stop()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failing_server_is_asked_five_times_and_then_left_alone(kind: type[ApiWriter]) -> None:
    with recorded_api(answers(Answer({"error": {"message": "oops"}}, status=503), kind=kind)) as api:
        engine = started(kind, api)
        for _ in range(12):
            with pytest.raises(ApiUnavailable):
                await whole(engine, request())
        engine.stop()
    assert len(api.asked) == 5


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_hangs_is_given_up_and_the_tokens_so_far_are_known(kind: type[ApiWriter]) -> None:
    with recorded_api(answers(Answer(events=BEGUN[kind], hangs=True), kind=kind)) as api:
        engine = started(kind, api, silent=0.5)
        seen: list[Any] = []
        with pytest.raises(ApiUnavailable, match="does not answer"):
            await collect(engine, seen)
        engine.stop()
    assert len(seen) == 3
    assert len(api.asked) == 1  # the SDK asks no second time


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_is_closed_early_is_no_answer(kind: type[ApiWriter]) -> None:
    with recorded_api(answers(Answer(events=BEGUN[kind], closes=True), kind=kind)) as api:
        engine = started(kind, api)
        with pytest.raises(EngineError, match=r"closed its stream|does not answer"):
            await whole(engine, request())
        engine.stop()


@pytest.mark.parametrize(("told", "counted"), [(10**9, 64), (1, 3), (-5, 3)])
async def test_a_usage_that_cannot_be_true_is_an_estimate_and_never_beyond_the_cap(told: int, counted: int) -> None:
    with recorded_api(answers(Answer(events=openai_chunks(TEXTS, openai_usage(20, told))))) as api:
        engine = started(OpenAIWriter, api)
        _, tokens, end = await whole(engine, request())
        engine.stop()
    assert tokens == end.usage.completion == counted
    assert end.usage.is_estimated


async def test_a_model_that_changes_behind_its_name_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    first, second = (Answer(events=openai_chunks(TEXTS, openai_usage(9, 3), model=name)) for name in ("m-1", "m-2"))
    with recorded_api(answers(first, second)) as api:
        engine = started(OpenAIWriter, api)
        for _ in range(2):
            await whole(engine, request())
        engine.stop()
    assert "answers 'm' with 'm-2' now, no longer with 'm-1'" in caplog.text
    assert engine.info.revision == "m-2"


async def test_an_abort_before_the_first_token_ends_at_once() -> None:
    with recorded_api(answers(Answer(events=openai_chunks([], None, finish=None), hangs=True))) as api:
        engine = started(OpenAIWriter, api)
        running = asyncio.create_task(whole(engine, request()))
        while not api.asked:
            await asyncio.sleep(0.01)
        engine.abort("r")
        _, _, end = await asyncio.wait_for(running, 10)
        engine.stop()
    assert end.reason is FinishReason.ABORTED
    assert end.usage.is_estimated


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hanging", [Answer(is_silent=True), Answer(hangs=True)], ids=["no headers", "no event"])
async def test_a_server_that_hangs_before_the_first_token_may_have_read_the_prompt(
    kind: type[ApiWriter], hanging: Answer
) -> None:
    with recorded_api(answers(hanging, kind=kind)) as api:
        engine = started(kind, api, silent=0.5)
        with pytest.raises(ApiUnavailable, match="does not answer") as failed:
            await whole(engine, request())
        engine.stop()
    assert failed.value.prompt_tokens == engine.num_tokens(request().conversation)


async def test_what_an_api_has_told_of_the_prompt_before_it_hangs_is_taken_for_what_it_has_read() -> None:
    begun = anthropic_events(TEXTS, 10, 6, cached=100, written=7)[:1]
    with recorded_api(answers(Answer(events=begun, hangs=True), kind=AnthropicWriter)) as api:
        engine = started(AnthropicWriter, api, silent=0.5)
        with pytest.raises(ApiUnavailable) as failed:
            await whole(engine, request())
        engine.stop()
    assert failed.value.prompt_tokens == 17


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_that_waited_for_the_api_in_vain_says_nothing_of_what_that_has_read(
    kind: type[ApiWriter],
) -> None:
    with recorded_api(answers(Answer({"error": {"message": "upstream timed out"}}, status=504), kind=kind)) as api:
        engine = started(kind, api)
        with pytest.raises(ApiUnavailable, match="upstream timed out") as failed:
            await whole(engine, request())
        engine.stop()
    assert failed.value.prompt_tokens == engine.num_tokens(request().conversation)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_that_was_refused_or_never_sent_has_read_nothing(kind: type[ApiWriter]) -> None:
    with recorded_api(answers(Answer({"error": {"message": "oops"}}, status=503), kind=kind)) as api:
        engine = started(kind, api)
        with pytest.raises(ApiUnavailable, match="oops") as refused:
            await whole(engine, request())
    with pytest.raises(ApiUnavailable, match="does not answer") as unsent:  # the server has gone
        await whole(engine, request())
    engine.stop()
    assert (refused.value.prompt_tokens, unsent.value.prompt_tokens) == (None, None)


async def sent_of(kind: type[ApiWriter], work: Writing, can: Capabilities | None = None) -> dict[str, Any]:
    with recorded_api(answers(Answer(events=WHOLE[kind]), kind=kind)) as api:
        engine = started(kind, api, can)
        await whole(engine, work)
        engine.stop()
    return api.asked[0][1]


async def test_of_a_callers_own_body_only_model_cap_and_what_the_endpoint_does_not_take_change() -> None:
    asked = {"messages": [{"role": "user", "content": "Why?", "odd": 1}], "temperature": 1, "top_k": 5, "new": [{}]}
    work = replace(request(), native=asked | {"thinking": {"type": "enabled", "budget_tokens": 9000}})
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1999}}
    own = {"model": "m", "max_tokens": 2000, "stream": True}
    assert await sent_of(AnthropicWriter, replace(work, max_tokens=2000)) == asked | thinking | own
    small = await sent_of(AnthropicWriter, work, Capabilities(takes_temperature=False))
    assert small.keys() == {"messages", "new", "model", "max_tokens", "stream"}  # no thought fits into 64 tokens


@pytest.mark.parametrize("kind", [OpenAIWriter, AnthropicWriter])
async def test_a_lost_attempts_text_stands_behind_the_callers_own_conversation(kind: type[ApiWriter]) -> None:
    said = [{"role": "user", "content": "Why?"}]
    work = replace(request(), native={"messages": said}, earlier=Earlier("The answer", (0, 0)))
    begun = {"role": "assistant", "content": "The answer"}
    sent = await sent_of(kind, work, Capabilities(continues="last_message"))
    assert sent["messages"] == [*said, begun]
    in_words = (await sent_of(kind, work))["messages"]
    assert [turn["role"] for turn in in_words] == ["user", "assistant", "user"]
    assert CONTINUE in str(in_words[-1]["content"])


async def test_ids_of_calls_that_are_ours_become_ones_that_every_api_takes_and_others_stay() -> None:
    ids = ["call_0123456789abcdef01234567", "call_AbC"]
    calls = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    results = [{"role": "tool", "tool_call_id": each, "content": "x"} for each in ids]
    said = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": None, "tool_calls": calls}, *results]
    sent = await sent_of(OpenAIWriter, replace(request(), native={"messages": said}))
    made = [call["id"] for call in sent["messages"][1]["tool_calls"]]
    assert made == [turn["tool_call_id"] for turn in sent["messages"][2:]]
    assert made[1] == "call_AbC"
    assert [len(each) for each in made] == [9, 8]


EFFORTS: dict[type[ApiWriter], dict[str, str | None]] = {
    OpenAIWriter: {"none": "none", "minimal": "minimal", "high": "high", "max": "xhigh"},
    AnthropicWriter: {"none": None, "minimal": "low", "high": "high", "max": "max"},
    ResponsesWriter: {"none": "none", "minimal": "minimal", "high": "high", "max": "xhigh"},
}


def told(kind: type[ApiWriter], body: dict[str, Any]) -> Any:
    if kind is OpenAIWriter:
        return body.get("reasoning_effort")
    return body.get("output_config" if kind is AnthropicWriter else "reasoning", {}).get("effort")


@pytest.mark.parametrize("kind", EFFORTS)
async def test_an_effort_is_told_in_the_protocols_own_words(kind: type[ApiWriter]) -> None:
    with recorded_api(answers(*[Answer(events=WHOLE[kind])] * 5, kind=kind)) as api:
        engine = started(kind, api)
        for effort in EFFORTS[kind]:
            await whole(engine, replace(request(), sampling=Sampling(effort=effort)))
        await whole(engine, request())
        engine.stop()
    assert [told(kind, body) for _, body in api.asked] == [*EFFORTS[kind].values(), None]


@pytest.mark.parametrize("kind", EFFORTS)
async def test_a_model_that_refuses_an_effort_is_asked_without_it_and_not_told_it_again(kind: type[ApiWriter]) -> None:
    error = {
        "error": {"message": "output_config.effort, reasoning_effort, reasoning.effort: not supported with this model"}
    }
    with recorded_api(answers(Answer(error, status=400), *[Answer(events=WHOLE[kind])] * 3, kind=kind)) as api:
        engine = started(kind, api)
        for effort in ("high", "high", "low"):
            await whole(engine, replace(request(), sampling=Sampling(effort=effort)))
        engine.stop()
    assert [told(kind, body) for _, body in api.asked] == ["high", None, None, "low"]


def test_a_block_of_anthropics_that_a_limit_cut_is_ended_and_a_cut_call_is_no_block_of_a_whole_reply() -> None:
    said = [event for _, event in anthropic_events(["It is"], 7, 2, blocks=anthropic_call(1, "clock", ["{"]))]
    blocks = PassedBlocks()
    sent = blocks.push(json.dumps(event) for event in said[:-3])
    assert sent == said[1:-3]
    assert blocks.last() == said[-3:-2]
    assert blocks_of([*sent, *blocks.last()]) == [{"type": "text", "text": "It is"}]
