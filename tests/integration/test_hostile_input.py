"""Whatever a caller sends, every method answers in time with a status of its own, and goes on serving others.

TANDEM_FUZZ_CASES says how many inputs each claim is tried on (`make fuzz`); the same inputs in every run.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import httpx
import psutil
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as oip

from services.batches.service import BATCHES, FILES
from services.gateway.service import NAME as GATEWAY
from services.insight_generator.service import NAME as GENERATOR
from services.slm_executor.service import NAME as EXECUTOR
from services.sufficiency_scorer.service import NAME as SCORER
from tests.integration.asking import ask
from tests.integration.conftest import System
from tests.integration.edge import body, serving
from tests.integration.hostile import Method, broken_bytes, json_bodies, messages, methods

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(3600)]
CASES = int(os.environ.get("TANDEM_FUZZ_CASES", "12"))
_BOUND_SECONDS = 60.0
_MOST_MORE_FDS = 64  # connections that are being closed
_DEFECTS = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""A status that says that the service did not expect this, or did not answer in time."""
_many = settings(
    max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
assert oip.DESCRIPTOR  # its service is found by name
METHODS = methods([GATEWAY, FILES, BATCHES, GENERATOR, EXECUTOR, SCORER])
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/batches")


def address_of(system: System, method: Method) -> str:
    service = method.path.split("/")[1]
    own = {GENERATOR: system.generator_address, EXECUTOR: system.executor_address, SCORER: system.scorer_address}
    return own.get(service, system.client.address)


@pytest_asyncio.fixture(loop_scope="session")
async def hardy(system: System) -> AsyncIterator[System]:
    """A system that afterwards answers as before, and holds nothing of what was sent."""
    process = psutil.Process()
    before = process.num_fds()
    yield system
    assert (await ask(system, "[scores=16:0.9 slm_eos=5]"))["answer"]
    async with asyncio.timeout(_BOUND_SECONDS):
        while not system.idle() or process.num_fds() > before + _MOST_MORE_FDS:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_any_message_gets_a_status_that_the_method_means(hardy: System, method: Method) -> None:
    await _takes(hardy, method, messages(method.request).map(lambda message: message.SerializeToString()))


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_broken_bytes_get_a_status_that_the_method_means(hardy: System, method: Method) -> None:
    await _takes(hardy, method, broken_bytes(method.request))


@pytest.mark.parametrize("path", PATHS)
async def test_any_json_gets_an_answer_or_an_error_of_openais_form(hardy: System, path: str) -> None:
    async with serving(hardy.client.address) as edge:
        with httpx.Client(base_url=edge.base_url, timeout=_BOUND_SECONDS) as http:

            @_many
            @given(sent=json_bodies(body("[scores=0:0.9 slm_eos=3]")))
            def claim(sent: Any) -> None:
                reply = http.post(path, content=json.dumps(sent), headers={"content-type": "application/json"})
                assert reply.status_code < 500, reply.text
                assert reply.status_code < 400 or reply.json()["error"]["message"]

            await asyncio.to_thread(claim)


@pytest.mark.parametrize("path", PATHS)
async def test_any_bytes_get_an_error_of_openais_form(hardy: System, path: str) -> None:
    async with serving(hardy.client.address) as edge:
        with httpx.Client(base_url=edge.base_url, timeout=_BOUND_SECONDS) as http:

            @_many
            @given(
                data=st.binary(max_size=200),
                kind=st.sampled_from(("application/json", "text/plain", "multipart/form-data", "")),
            )
            def claim(data: bytes, kind: str) -> None:
                reply = http.post(path, content=data, headers={"content-type": kind})
                assert 400 <= reply.status_code < 500, reply.text
                assert reply.json()["error"]["message"]

            await asyncio.to_thread(claim)


async def _takes(system: System, method: Method, sent: st.SearchStrategy[bytes]) -> None:
    """None of these ends in a status that is a defect."""
    with grpc.insecure_channel(address_of(system, method)) as channel:

        @_many
        @given(data=sent)
        def claim(data: bytes) -> None:
            assert _status(channel, method, data) not in _DEFECTS

        await asyncio.to_thread(claim)


def _status(channel: grpc.Channel, method: Method, data: bytes) -> grpc.StatusCode:
    """How the call ends; a stream that begins is left after its first message."""
    kind = f"{'stream' if method.is_upload else 'unary'}_{'stream' if method.is_stream else 'unary'}"
    request: bytes | Iterator[bytes] = iter([data]) if method.is_upload else data
    call = getattr(channel, kind)(method.path)
    try:
        if method.is_stream:
            replies = call(request, timeout=_BOUND_SECONDS)
            next(replies, None)
            replies.cancel()
        else:
            call(request, timeout=_BOUND_SECONDS)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK
