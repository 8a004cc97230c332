"""What the gateway refuses and how it says so."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import grpc
import pytest

from tandem import RequestError
from tandem.v1 import tandem_pb2
from tests.integration.asking import ask
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("options", "field", "code"),
    [
        ({"question": "  "}, "question", grpc.StatusCode.INVALID_ARGUMENT),
        ({"question": "x" * 401}, "question", grpc.StatusCode.INVALID_ARGUMENT),
        ({"profile": "nobody"}, "profile", grpc.StatusCode.INVALID_ARGUMENT),
        ({"json_schema": "{"}, "json_schema", grpc.StatusCode.INVALID_ARGUMENT),
        ({"json_schema": '{"not": {}}'}, "json_schema", grpc.StatusCode.INVALID_ARGUMENT),
        ({"json_schema": "{}", "code": True}, "json_schema", grpc.StatusCode.INVALID_ARGUMENT),
        ({"json_schema": '{"title": "' + "x" * 400 + '"}'}, "question", grpc.StatusCode.INVALID_ARGUMENT),
        ({"max_cost_usd": -1.0}, "budget.max_cost_usd", grpc.StatusCode.INVALID_ARGUMENT),
        ({"max_cost_usd": float("nan")}, "budget.max_cost_usd", grpc.StatusCode.INVALID_ARGUMENT),
        ({"threshold": 1.5}, "stop.threshold", grpc.StatusCode.INVALID_ARGUMENT),
        ({"thresholds": {9: 0.5}}, "stop.thresholds", grpc.StatusCode.INVALID_ARGUMENT),
        ({"max_stage": 99}, "stop.max_stage", grpc.StatusCode.INVALID_ARGUMENT),
        ({"temperature": 3.0}, "sampling.temperature", grpc.StatusCode.INVALID_ARGUMENT),
        ({"temperature": 1e-38}, "sampling.temperature", grpc.StatusCode.INVALID_ARGUMENT),
        ({"temperature": float("nan")}, "sampling.temperature", grpc.StatusCode.INVALID_ARGUMENT),
        ({"top_p": 0.0}, "sampling.top_p", grpc.StatusCode.INVALID_ARGUMENT),
        ({"top_p": float("nan")}, "sampling.top_p", grpc.StatusCode.INVALID_ARGUMENT),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop_strings", grpc.StatusCode.INVALID_ARGUMENT),
        ({"stop": "x" * 65}, "stop_strings", grpc.StatusCode.INVALID_ARGUMENT),
        ({"stop": ["a", ""]}, "stop_strings", grpc.StatusCode.INVALID_ARGUMENT),
        ({"request_id": "a b"}, "request_id", grpc.StatusCode.INVALID_ARGUMENT),
        ({"max_cost_usd": 1e-9}, "", grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_bad_requests_name_the_field(system: System, options: dict[str, Any], field: str, code: object) -> None:
    with pytest.raises(RequestError) as caught:
        await ask(system, **{"question": "why?", **options})
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.reason


async def test_a_question_that_cannot_be_short_enough_is_not_tokenised(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    monkeypatch.setattr(
        system.service._admission, "_count_tokens", {"scripted": lambda text: counted.append(text) or 1}
    )
    with pytest.raises(RequestError) as refused:
        await ask(system, "x" * 1_900_000)
    assert (refused.value.reason, refused.value.field) == ("QUESTION_TOO_LONG", "question")
    with pytest.raises(RequestError, match="6,611,437 more than the 8,388,608") as refused:
        await ask(system, "x" * 15_000_000)
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert not counted


async def test_tokenising_one_question_delays_no_other_request(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    is_let_go = threading.Event()
    monkeypatch.setattr(
        system.service._admission, "_count_tokens", {"scripted": lambda text: is_let_go.wait(60) and len(text)}
    )
    slow = asyncio.create_task(ask(system, "[scores=0:0.9 slm_eos=5]"))
    await asyncio.sleep(0.1)
    await system.client.profiles()
    assert not slow.done()
    is_let_go.set()
    assert (await slow)["answer"]


async def test_a_profile_without_a_prompt_for_it_takes_no_json_schema(brief_system: System) -> None:
    with pytest.raises(RequestError, match="no prompt for a JSON schema") as caught:
        await ask(brief_system, "why?", json_schema="{}")
    assert (caught.value.code, caught.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, "json_schema")


async def test_the_answer_to_a_request_with_a_schema_is_compact_json(system: System) -> None:
    result = await ask(system, '[slm={"a":_1} slm_eos=9 scores=0:0.9]', json_schema='{"type": "object"}')
    assert (result["reasoning"], result["answer"]) == ('{"a": 1}', '{"a":1}')


async def test_too_many_requests_are_refused_with_a_time_to_retry(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system.service._readers, "_limits", replace(system.service._readers._limits, max_requests=1))
    async with aclosing(system.client.solve("[llm_hold=5]")) as stream:
        await anext(stream)
        with pytest.raises(RequestError) as caught:
            await ask(system, "[slm_eos=3]")
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.retry_after_s == 2.0


async def test_unknown_requests_are_not_found(system: System) -> None:
    for call in (system.client.get, system.client.cancel):
        with pytest.raises(RequestError) as caught:
            await call("nobody-asked-this")
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def test_profiles_say_whether_the_scorer_was_trained(system: System) -> None:
    listed = await system.client.profiles()
    assert (listed.default_profile, listed.profiles[0].scorer, listed.profiles[0].scorer_trained) == (
        "scripted",
        "untrained",
        False,
    )


async def test_a_call_that_asks_nothing_is_told_so(system: System) -> None:
    with pytest.raises(RequestError) as refused:
        async for _ in system.client.solve_request(tandem_pb2.SolveRequest()):
            pass
    assert (refused.value.reason, refused.value.field) == ("EMPTY_QUESTION", "question")
