"""What is far too much is refused as such, at once, and does not harm others: by gRPC and by HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message

from services.gateway.batches.service import BATCHES, FILES
from services.gateway.service import NAME as GATEWAY
from tandem import RequestError
from tandem.client.contract import MAX_MESSAGE_BYTES
from tandem.v1 import batch_pb2 as batches
from tandem.v1 import tandem_pb2 as tandem
from tests.contracts import methods
from tests.integration.edge import body
from tests.integration.hostile.claims import status_of
from tests.integration.hostile.conftest import Hardy
from tests.integration.hostile.test_http import BODIES, MODEL

pytestmark = pytest.mark.asyncio(loop_scope="session")
SECONDS = 30.0
"""Until the refusal, on a machine that other tests keep busy."""
METHODS = {str(method): method for method in methods((GATEWAY, FILES, BATCHES))}
REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
KIB, MIB, MANY = 2**10, 2**20, 100_000


def _said(count: int, text: str = "x") -> Iterable[tandem.Message]:
    speakers = (tandem.SPEAKER_USER, tandem.SPEAKER_ASSISTANT)
    return [tandem.Message(speaker=speakers[number % 2], text=text) for number in range(count)]


def _checked(*checks: tandem.Check) -> Message:
    return tandem.SolveRequest(question="q", checks=checks)


def _where(size: int) -> tandem.ListRequestsRequest:
    """Conditions that are right, of at least so many bytes."""
    condition = "stage >= 0"
    return tandem.ListRequestsRequest(where=" or ".join([condition] * (size // len(condition) + 1)))


GRPC: dict[str, tuple[str, Callable[[], Message]]] = {
    "messages": ("TandemService/Solve", lambda: tandem.SolveRequest(messages=_said(MANY + 1))),
    "empty messages": ("TandemService/Solve", lambda: tandem.SolveRequest(messages=[tandem.Message()] * 10 * MANY)),
    "messages without text": ("TandemService/Solve", lambda: tandem.SolveRequest(messages=_said(2 * MANY + 1, ""))),
    "17 checks": ("TandemService/Solve", lambda: _checked(*[tandem.Check(name="choice", argument="a")] * 17)),
    "checks": ("TandemService/Solve", lambda: _checked(*[tandem.Check(name="choice", argument="a")] * MANY)),
    "unknown checks": ("TandemService/Solve", lambda: _checked(*[tandem.Check()] * MANY)),
    "an argument of 64 KiB and a byte": (
        "TandemService/Solve",
        lambda: _checked(tandem.Check(name="choice", argument="x" * (64 * KIB + 1))),
    ),
    "an argument of 5 MiB": (
        "TandemService/Solve",
        lambda: _checked(tandem.Check(name="choice", argument="yes\n" * (5 * MIB // 4))),
    ),
    "a pattern of 5 MiB": (
        "TandemService/Solve",
        lambda: _checked(tandem.Check(name="regex", argument="(" * (5 * MIB))),
    ),
    "a schema of 5 MiB": ("TandemService/Solve", lambda: tandem.SolveRequest(question="q", json_schema="[" * 5 * MIB)),
    "a question of 5 MiB": ("TandemService/Solve", lambda: tandem.SolveRequest(question="x " * (5 * MIB // 2))),
    "a request of 5 MiB": ("TandemService/Solve", lambda: tandem.SolveRequest(question="x" * 5 * MIB)),
    "a request of 20 MiB": ("TandemService/Solve", lambda: tandem.SolveRequest(question="x" * 20 * MIB)),
    "stop strings": ("TandemService/Solve", lambda: tandem.SolveRequest(question="q", stop_strings=["x"] * MANY)),
    "thresholds": (
        "TandemService/Solve",
        lambda: tandem.SolveRequest(question="q", stop={"thresholds": dict.fromkeys(range(MANY), 0.5)}),
    ),
    "an id of 5 MiB": ("TandemService/Solve", lambda: tandem.SolveRequest(question="q", request_id="x" * 5 * MIB)),
    "an id to read of 5 MiB": (
        "TandemService/GetRequest",
        lambda: tandem.GetRequestRequest(request_id="x" * 5 * MIB),
    ),
    "a cursor of 5 MiB": ("TandemService/Solve", lambda: tandem.SolveRequest(resume_after="1" * 5 * MIB)),
    "a profile of 5 MiB": ("TandemService/Solve", lambda: tandem.SolveRequest(question="q", profile="x" * 5 * MIB)),
    "a query of 4 KiB and more": ("TandemService/ListRequests", lambda: _where(4 * KIB)),
    "a query of 64 KiB": ("TandemService/ListRequests", lambda: _where(64 * KIB)),
    "a query of 5 MiB": ("TandemService/ListRequests", lambda: _where(5 * MIB)),
    "a query of one value": (
        "TandemService/ListRequests",
        lambda: tandem.ListRequestsRequest(where=f"tenant = '{'x' * 5 * MIB}'"),
    ),
    "metadata of a batch": (
        "BatchService/CreateBatch",
        lambda: batches.CreateBatchRequest(
            input_file_id="file-x", metadata={str(number): "x" for number in range(MANY)}
        ),
    ),
    "an id of a batch": (
        "BatchService/CreateBatch",
        lambda: batches.CreateBatchRequest(input_file_id="file-x", batch_id="x" * 5 * MIB),
    ),
}
HTTP: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "messages": (
        "/v1/chat/completions",
        lambda: {"model": MODEL, "messages": [{"role": "user", "content": "x"}] * (MANY + 1)},
    ),
    "parts of a message": (
        "/v1/chat/completions",
        lambda: {
            "model": MODEL,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * (MANY - 1)}],
        },
    ),
    "checks": (
        "/v1/chat/completions",
        lambda: body("q", model=MODEL, tandem={"checks": ["choice:a"] * MANY}),
    ),
    "an argument of 5 MiB": (
        "/v1/chat/completions",
        lambda: body("q", model=MODEL, tandem={"checks": ["choice:" + "yes\n" * (5 * MIB // 4)]}),
    ),
    "items of a response": (
        "/v1/responses",
        lambda: {"model": MODEL, "input": [{"role": "user", "content": "x"}] * (MANY + 1)},
    ),
    "messages as Anthropic has them": (
        "/v1/messages",
        lambda: BODIES["/v1/messages"] | {"messages": [{"role": "user", "content": "x"}] * (MANY + 1)},
    ),
    "a question of 5 MiB": ("/api/requests", lambda: {"question": "x " * (5 * MIB // 2)}),
    "a body of 5 MiB": ("/api/requests", lambda: {"question": "x" * 5 * MIB}),
    "metadata of a batch": (
        "/v1/batches",
        lambda: BODIES["/v1/batches"] | {"metadata": {str(number): "x" for number in range(MANY)}},
    ),
}


@pytest.mark.parametrize("case", GRPC)
async def test_too_much_of_a_message_is_refused_in_time(hardy: Hardy, case: str) -> None:
    name, make = GRPC[case]
    data, options = make().SerializeToString(), [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(hardy.system.client.address, options=options) as channel:
        began = time.monotonic()
        assert await asyncio.to_thread(status_of, channel, METHODS[name], data) in REFUSED
        assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("size", [9_000_000, 20_000_000])
async def test_a_client_says_of_a_question_that_it_is_too_large_by_how_much_and_the_limit(
    hardy: Hardy, size: int
) -> None:
    with pytest.raises(RequestError) as refused:
        await hardy.system.client.ask("x" * size)
    has, beyond, most = (int(found.replace(",", "")) for found in re.findall(r"([0-9,]{5,}) ", str(refused.value)))
    assert str(refused.value).startswith("the question is too large")
    assert (most, beyond) == (MAX_MESSAGE_BYTES, has - MAX_MESSAGE_BYTES)
    assert size < has < size + 100


@pytest.mark.parametrize("case", HTTP)
async def test_too_much_of_a_body_is_refused_in_time(edge: httpx.Client, case: str) -> None:
    path, make = HTTP[case]
    content, kind = json.dumps(make()), {"content-type": "application/json"}
    await _is_refused(lambda: edge.post(path, content=content, headers=kind))


@pytest.mark.parametrize("size", [5 * KIB, 20 * KIB])
async def test_a_long_query_is_refused_in_time(edge: httpx.Client, size: int) -> None:
    where = httpx.QueryParams(where=_where(size).where)
    await _is_refused(lambda: edge.get(f"/api/requests?{where}"))


async def _is_refused(send: Callable[[], httpx.Response]) -> None:
    began = time.monotonic()
    reply = await asyncio.to_thread(send)
    assert reply.status_code in (400, 413, 429), reply.text
    assert time.monotonic() - began < SECONDS
