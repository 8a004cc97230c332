"""The limits of an API are kept before it refuses: by its own headers, or by a share that the profile gives."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.models.engine.api import ApiUnavailable, FinishReason, QueueFull
from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.api_writer import ApiSettings, ApiWriter
from services.models.engine.remote.limits import RateLimits
from services.models.engine.remote.openai_writer import OpenAIWriter
from tandem.method.profile.endpoint import Limits
from tests.recorded_api import Answer, anthropic_events, openai_chunks, openai_usage, recorded_api
from tests.unit.test_api_engines import TEXTS, answers, request, started, whole
from tests.unit.test_circuit import Clock

NOBODY = Limits()


def limits(clock: Clock, given: Limits = NOBODY) -> RateLimits:
    return RateLimits(given, clock, lambda: 0.0)


def test_without_a_known_limit_nobody_waits() -> None:
    one = limits(Clock())
    assert [one.reserve(10**9) for _ in range(1000)] == [0.0] * 1000


def test_requests_per_minute_are_taken_at_once_and_then_one_after_the_other() -> None:
    clock = Clock()
    one = limits(clock, Limits(requests_per_minute=30))
    assert [one.reserve(1) for _ in range(30)] == [0.0] * 30
    assert [one.reserve(1) for _ in range(3)] == pytest.approx([2.0, 4.0, 6.0])  # each behind the one before it
    clock.now = 60.0
    assert one.reserve(1) == 0.0


def test_who_would_wait_for_long_is_told_when_to_come_back_and_reserves_nothing() -> None:
    clock = Clock()
    one = limits(clock, Limits(tokens_per_minute=600))
    assert one.reserve(600) == 0.0
    for _ in range(5):
        with pytest.raises(QueueFull, match="limit per minute is reached: 30 s are left") as refused:
            one.reserve(300)
        assert refused.value.retry_after_s == 30.0
    clock.now = 30.0
    assert one.reserve(300) == 0.0


def test_a_request_larger_than_the_limit_is_sent_when_nothing_else_was() -> None:
    one = limits(Clock(), Limits(tokens_per_minute=600))
    assert one.reserve(5000) == 0.0


def test_what_a_request_reserved_and_did_not_use_is_given_back() -> None:
    one = limits(Clock(), Limits(tokens_per_minute=600))
    one.reserve(600)
    one.end(600, used=100)
    assert one.reserve(500) == 0.0


def test_a_request_larger_than_the_limit_gives_back_no_more_than_it_took() -> None:
    one = limits(Clock(), Limits(tokens_per_minute=600))
    one.reserve(5000)
    one.reserve(100)
    one.end(5000, used=500)  # what the other one has reserved stays reserved
    with pytest.raises(QueueFull):
        one.reserve(300)


def openai_headers(left: int, reset: str) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": str(left),
        "x-ratelimit-reset-requests": reset,
    }


@pytest.mark.parametrize(("reset", "wait"), [("60s", 1.0), ("6m0s", 6.0), ("6000ms", 0.1), ("120", 2.0)])
def test_openais_headers_say_how_much_is_left_and_how_fast_it_comes_back(reset: str, wait: float) -> None:
    one = limits(Clock())
    one.observe(openai_headers(0, reset))
    assert one.reserve(1) == pytest.approx(wait)


def test_anthropics_headers_name_the_moment_at_which_the_limit_is_whole() -> None:
    one = limits(Clock())
    whole = datetime.now(UTC) + timedelta(seconds=60)
    head = "anthropic-ratelimit-tokens"
    one.observe(
        {f"{head}-limit": "6000", f"{head}-remaining": "0", f"{head}-reset": whole.strftime("%Y-%m-%dT%H:%M:%SZ")}
    )
    assert one.reserve(100) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("headers", [{}, openai_headers(0, "soon"), {"x-ratelimit-limit-requests": "60"}])
def test_headers_that_say_nothing_change_nothing(headers: dict[str, str]) -> None:
    one = limits(Clock())
    one.observe(headers)
    assert one.reserve(1) == 0.0


@pytest.mark.parametrize(
    "reset", ["36500d", "9" * 400, "2999-01-01T00:00:00Z", "2999-01-01T00:00:00", "9999-12-31T23:59:59-23:59"]
)
def test_no_limit_takes_a_model_away_for_more_than_an_hour(reset: str) -> None:
    clock = Clock()
    one = limits(clock)
    one.observe(openai_headers(59, "1s"))
    for _ in range(60):
        one.reserve(1)
    one.observe(openai_headers(0, reset))
    with pytest.raises(QueueFull) as refused:
        one.reserve(60)
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s <= 3601
    clock.now = 3601.0
    assert one.reserve(1) == 0.0


@pytest.mark.parametrize(("limit", "left"), [("inf", "0"), ("nan", "0"), ("60", "nan"), ("60", "-5"), ("60", "61")])
def test_a_limit_that_cannot_be_is_none(limit: str, left: str) -> None:
    one = limits(Clock())
    one.observe(
        {**openai_headers(0, "3600s"), "x-ratelimit-limit-requests": limit, "x-ratelimit-remaining-requests": left}
    )
    assert one.reserve(1) == 0.0


def test_a_moment_without_a_zone_is_in_utc() -> None:
    one = limits(Clock())
    moment = (datetime.now(UTC) + timedelta(seconds=60)).replace(tzinfo=None)
    one.observe(openai_headers(0, moment.isoformat()))
    assert one.reserve(1) == pytest.approx(1.0, abs=0.1)


def test_a_share_that_the_profile_gives_is_not_widened_by_the_api() -> None:
    one = limits(Clock(), Limits(requests_per_minute=1))
    one.observe(openai_headers(59, "1s"))
    one.reserve(1)
    with pytest.raises(QueueFull):
        one.reserve(1)


@pytest.mark.parametrize("kind", [OpenAIWriter, AnthropicWriter])
async def test_an_engine_asks_nothing_while_the_headers_say_that_nothing_is_left(kind: type[ApiWriter]) -> None:
    events = openai_chunks(TEXTS, openai_usage(20, 3)) if kind is OpenAIWriter else anthropic_events(TEXTS, 10, 3)
    reset = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    headers = {
        **openai_headers(0, "3600s"),
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": reset,
    }
    with recorded_api(answers(Answer(events=events, headers=headers), kind=kind)) as api:
        engine = started(kind, api)
        await whole(engine, request())
        with pytest.raises(QueueFull, match="limit per minute") as refused:
            await whole(engine, request())
        engine.stop()
    assert len(api.asked) == 1
    assert refused.value.retry_after_s is not None
    assert refused.value.retry_after_s > 30


async def test_a_request_that_waits_for_the_limit_can_be_aborted_and_has_cost_nothing() -> None:
    headers = openai_headers(0, "300s")  # five seconds for each
    with recorded_api(answers(Answer(events=openai_chunks(TEXTS, openai_usage(20, 3)), headers=headers))) as api:
        engine = started(OpenAIWriter, api)
        work, sent = request(), list[int]()
        work = replace(work, on_sent=sent.append)
        await whole(engine, work)
        assert sent == [engine.num_tokens(work.conversation)]
        waiting = asyncio.create_task(whole(engine, replace(work, id="second")))
        while not engine.load.running:
            await asyncio.sleep(0)
        engine.abort("second")
        _, tokens, end = await asyncio.wait_for(waiting, 3)
        engine.stop()
    assert (tokens, end.reason, end.usage.computed) == (0, FinishReason.ABORTED, 0)
    assert len(api.asked) == len(sent) == 1


async def test_a_request_that_the_circuit_refuses_gives_its_share_of_the_limits_back() -> None:
    with recorded_api(answers(Answer({"error": {"message": "oops"}}, status=503))) as api:
        share = Limits(tokens_per_minute=600)
        engine = OpenAIWriter(ApiSettings("m", f"{api.url}/v1", "a-key", limits=share))
        engine.start()
        work = replace(request(), max_tokens=60)
        for _ in range(5 + 20):
            with pytest.raises(ApiUnavailable):  # not QueueFull: five were sent, and no other took anything
                await whole(engine, work)
        engine.stop()
    assert len(api.asked) == 5
