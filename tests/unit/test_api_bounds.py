"""What is believed of an API, and what is taken from it: counts, sizes, shapes and addresses, each by one reply that
goes beyond.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from services.models.engine.api import ApiBadReply, ApiRefused, ApiUnavailable, FinishReason, QueueFull
from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.api_writer import ApiWriter
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.remote.responses_writer import ResponsesWriter
from services.shared.process.status import from_engine, to_status
from tandem.method.profile.endpoint import Capabilities
from tests.hostile_api import http, stream
from tests.recorded_api import (
    Answer,
    RecordedApi,
    anthropic_events,
    openai_chunks,
    openai_usage,
    recorded_api,
    responses_events,
    responses_text,
    responses_usage,
)
from tests.unit.test_api_engines import TEXTS, answers, request, started, whole

KINDS = [OpenAIWriter, AnthropicWriter]


def replied(kind: type[ApiWriter], texts: list[str], prompt: int, completion: int, cached: int = 0) -> Answer:
    if kind is OpenAIWriter:
        return Answer(events=openai_chunks(texts, openai_usage(prompt + cached, completion, cached)))
    return Answer(events=anthropic_events(texts, prompt, completion, cached=cached))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type[ApiWriter]:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize(("prompt", "cached"), [(10**6, 0), (3, 10**9), (2**63, 0)])
async def test_a_prompt_has_no_more_tokens_than_bytes_were_sent_and_is_an_estimate_then(
    kind: type[ApiWriter], prompt: int, cached: int
) -> None:
    with recorded_api(answers(replied(kind, TEXTS, prompt, 3, cached), kind=kind)) as api:
        engine = started(kind, api)
        _, tokens, end = await whole(engine, request())
        engine.stop()
    sent = len(json.dumps(api.asked[-1][1]))
    assert 0 < end.usage.read <= sent + 512
    assert end.usage.is_estimated
    assert (end.usage.cached > end.usage.prompt) == (cached > prompt)
    assert tokens == end.usage.completion == 3


@pytest.mark.parametrize(("prompt", "cached"), [(-7, 0), (20, -1)])
async def test_counts_that_contradict_each_other_tell_nothing(kind: type[ApiWriter], prompt: int, cached: int) -> None:
    with recorded_api(answers(replied(kind, TEXTS, prompt, 3, cached), kind=kind)) as api:
        engine = started(kind, api)
        _, _, end = await whole(engine, request())
        engine.stop()
    estimate = engine.num_tokens(request().conversation)
    assert (end.usage.prompt, end.usage.cached, end.usage.is_estimated) == (estimate, 0, True)


PASSED: dict[type[ApiWriter], dict[str, Any]] = {
    OpenAIWriter: {"messages": [{"role": "user", "content": "hi"}]},
    AnthropicWriter: {"messages": [{"role": "user", "content": "hi"}]},
    ResponsesWriter: {"input": "hi"},
}
PICTURE = f"data:image/png;base64,{'A' * 50_000}"
PICTURES: dict[type[ApiWriter], dict[str, Any]] = {
    OpenAIWriter: {"type": "image_url", "image_url": {"url": PICTURE}},
    AnthropicWriter: {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 50_000}},
    ResponsesWriter: {"type": "input_image", "image_url": PICTURE},
}
LIES: list[dict[str, int]] = [
    {"prompt": 2_000_000},
    {"prompt": 5, "cached": 2_000_000},
    {"prompt": 2_000_000, "written": 2_000_000},
    {"prompt": 2_000_000, "written": 2_000_000, "hour": 2_000_000},
    {"prompt": 2_000_000, "completion": 2_000_000},
]


def passed_reply(kind: type[ApiWriter], prompt: int, completion: int = 3, **in_cache: int) -> Answer:
    cached, written, hour = (in_cache.get(name, 0) for name in ("cached", "written", "hour"))
    if kind is AnthropicWriter:
        events = anthropic_events(TEXTS, prompt - written, completion, cached=cached, written=written, hour=hour)
        return Answer(events=events)
    details = {"cached_tokens": cached, "cache_write_tokens": written}
    if kind is OpenAIWriter:
        usage = openai_usage(prompt + cached, completion) | {"prompt_tokens_details": details}
        return Answer(events=openai_chunks(TEXTS, usage))
    usage = responses_usage(prompt + cached, completion) | {"input_tokens_details": details}
    return Answer(events=responses_events([responses_text("".join(TEXTS))], usage, pieces=3))


@pytest.mark.parametrize("kind", PASSED)
@pytest.mark.parametrize("lie", LIES, ids=["prompt", "cached", "written", "for an hour", "thought"])
async def test_a_body_that_is_passed_on_is_billed_no_more_tokens_than_its_bytes(
    kind: type[ApiWriter], lie: dict[str, int]
) -> None:
    with recorded_api(answers(passed_reply(kind, **lie), kind=kind)) as api:
        engine = started(kind, api)
        _, tokens, end = await whole(engine, replace(request(), native=PASSED[kind]))
        engine.stop()
    assert 0 < end.usage.read <= len(json.dumps(PASSED[kind])) + 512
    assert end.usage.is_estimated
    assert tokens == end.usage.completion <= 64  # the cap


@pytest.mark.parametrize("kind", PASSED)
@pytest.mark.parametrize(("reported", "is_believed"), [(1_700, True), (49_000, False)])
async def test_an_image_of_a_body_is_believed_by_its_vendors_rule_and_not_by_its_bytes(
    kind: type[ApiWriter], reported: int, is_believed: bool
) -> None:
    [place] = PASSED[kind]
    body = {place: [{"role": "user", "content": [PICTURES[kind]]}]}
    with recorded_api(answers(passed_reply(kind, reported), kind=kind)) as api:
        engine = started(kind, api)
        _, _, end = await whole(engine, replace(request(), native=body))
        engine.stop()
    assert (end.usage.read == reported, not end.usage.is_estimated) == (is_believed, is_believed)


async def test_cached_tokens_beyond_the_prompt_are_not_believed() -> None:
    usage = openai_usage(20, 3, cached=21)
    with recorded_api(answers(Answer(events=openai_chunks(TEXTS, usage)))) as api:
        engine = started(OpenAIWriter, api)
        _, _, end = await whole(engine, request())
        engine.stop()
    assert (end.usage.cached, end.usage.is_estimated) == (0, True)


@pytest.mark.parametrize("written", [-1, 21, 10**9])
async def test_more_tokens_put_into_a_cache_than_were_computed_are_not_believed(
    kind: type[ApiWriter], written: int
) -> None:
    usage = openai_usage(20, 3) | {"prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": written}}
    answer = Answer(events=openai_chunks(TEXTS, usage))
    if kind is AnthropicWriter:
        answer = Answer(events=anthropic_events(TEXTS, 20 - written, 3, written=written, hour=written + 1))
    with recorded_api(answers(answer, kind=kind)) as api:
        engine = started(kind, api)
        _, _, end = await whole(engine, request())
        engine.stop()
    assert (end.usage.written, end.usage.written_hour, end.usage.is_estimated) == (0, 0, True)


@pytest.mark.parametrize("usage", ["at_end", "timings"])
async def test_a_stream_that_goes_on_behind_the_cap_is_ended_there(kind: type[ApiWriter], usage: Any) -> None:
    with recorded_api(answers(replied(kind, ["x"] * 30_000, 20, 30_000), kind=kind)) as api:
        engine = started(kind, api, Capabilities(usage=usage))
        text, tokens, end = await whole(engine, request(most=64))
        engine.stop()
    assert (text, tokens, end.usage.completion) == ("x" * 64, 64, 64)
    assert (end.reason, end.usage.is_estimated) == (FinishReason.LENGTH, True)


async def test_a_gateway_that_sends_the_whole_answer_as_one_piece_is_read_and_counted_as_it_reports(
    kind: type[ApiWriter],
) -> None:
    text = "A whole answer. " * 400
    with recorded_api(answers(replied(kind, [text], 20, 1600), kind=kind)) as api:
        engine = started(kind, api)
        read, tokens, end = await whole(engine, request(most=2048))
        engine.stop()
    assert (read, tokens, end.usage.completion, end.usage.is_estimated) == (text, 1600, 1600, False)


def flood(piece: bytes) -> Iterator[bytes]:
    while True:  # until the client has enough
        yield piece * 4096


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(lambda: flood(b"x")), "more than 1048576 bytes"),
        (http(lambda: flood(b": wait\n\n")), "more than"),
        (http(gzip.compress(b"data: " + b"0" * (1 << 24)), content_encoding="gzip"), "packs its reply"),
        (http(b'{"choices": []}'), "no stream of events"),
        (http(b"data: nonsense\n\n"), "none of its protocol"),
        (http(b'data: {"type": "message_delta", "usage": {}, "delta": {}, "choices": []}\n\n'), "Field required"),
        (http(b'data: {"type": 7, "choices": null}\n\n'), "none of its protocol"),
    ],
    ids=["no line", "comments", "packed", "JSON", "nonsense", "empty usage", "nulls"],
)
async def test_a_reply_that_is_none_is_refused_with_a_reason_and_what_it_may_cost_is_known(
    kind: type[ApiWriter], answer: Answer, reason: str
) -> None:
    with recorded_api(answers(answer, kind=kind)) as api:
        engine = started(kind, api)
        with pytest.raises(ApiBadReply, match=reason) as refused:
            await whole(engine, request())
        assert len(api.asked) == 1
        for _ in range(5):
            with pytest.raises((ApiBadReply, ApiUnavailable)):
                await whole(engine, request())
        engine.stop()
    assert len(api.asked) == 5  # an endpoint that only does this is paid no more
    told = from_engine(refused.value)
    assert told is not None
    assert told.reason == "API_BAD_REPLY"


async def test_a_compressed_reply_is_not_asked_for(kind: type[ApiWriter]) -> None:
    with recorded_api(answers(replied(kind, TEXTS, 20, 3), kind=kind)) as api:
        engine = started(kind, api)
        await whole(engine, request())
        engine.stop()
    assert {given["accept-encoding"] for given in api.headers} == {"identity"}


async def test_no_redirect_is_followed_and_the_error_says_where_it_leads(kind: type[ApiWriter]) -> None:
    with recorded_api(answers(replied(kind, TEXTS, 20, 3), kind=kind)) as elsewhere:
        leading = http(b"", status=307, location=f"{elsewhere.url}/v1/chat/completions?key=secret")
        with recorded_api(answers(leading, kind=kind)) as api:
            engine = started(kind, api)
            with pytest.raises(
                ApiRefused, match=f"redirects to {elsewhere.url}, and no redirect is followed"
            ) as refused:
                await whole(engine, request())
            engine.stop()
    assert elsewhere.asked == []
    assert (refused.value.prompt_tokens, "secret" in str(refused.value)) == (None, False)


@pytest.mark.parametrize("when", ["9" * 400, "inf", "999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
@pytest.mark.parametrize(("status", "error"), [(503, ApiUnavailable), (429, QueueFull)])
async def test_no_pause_is_longer_than_an_hour(
    kind: type[ApiWriter], status: int, error: type[Exception], when: str
) -> None:
    body = {"error": {"message": "slow down"}}
    answer = Answer(body, status=status, headers={"retry-after-ms" if when == "inf" else "retry-after": when})
    with recorded_api(answers(answer, kind=kind)) as api:
        engine = started(kind, api)
        with pytest.raises(error) as refused:
            await whole(engine, request())
        engine.stop()
    told = from_engine(refused.value)
    assert told is not None
    assert 3600 <= told.retry_after_s <= 3600 * 1.25  # type: ignore[attr-defined]
    to_status(told)


async def test_a_connection_is_used_again_after_a_whole_reply() -> None:
    body = stream(openai_chunks(TEXTS, openai_usage(20, 3)), "openai")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    raw = head + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    with recorded_api(answers(Answer(raw=lambda: iter([raw]), stays_open=True))) as api:
        engine = started(OpenAIWriter, api)
        for _ in range(5):
            await whole(engine, request())
        engine.stop()
    assert len(set(peers(api))) == 1


def peers(api: RecordedApi) -> list[str]:
    return [given["peer"] for given in api.headers]
