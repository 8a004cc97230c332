"""JSON schemas that cost seconds and gigabytes are refused by the path of a keyword, and nobody waits for them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import grpc
import httpx
import psutil
import pytest

from services.models.without_engine import check_schema
from tandem import RequestError
from tandem.method.errors import InvalidArgument, TandemError
from tests.integration.asking import ask
from tests.integration.edge import body
from tests.integration.hostile.claims import WAIT_SECONDS
from tests.integration.hostile.conftest import Hardy
from tests.integration.hostile.schemas import AWKWARD, COSTLY
from tests.integration.hostile.test_http import MODEL

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]
SECONDS = 30.0
"""Of a trial on a machine that other tests keep busy; alone it takes one."""
QUESTION = '[slm={"a":_1} slm_eos=9 scores=0:0.9]'


PRIMES = [number for number in range(101, 400) if all(number % factor for factor in range(2, 20))]


def together(prime: int) -> str:
    """A schema that no cache has seen, and whose keywords cost little one by one."""
    return json.dumps({"allOf": [{"type": "integer", "multipleOf": factor} for factor in (89, 97, prime)]})


@pytest.mark.parametrize("name", COSTLY)
async def test_a_schema_that_would_cost_seconds_or_gigabytes_is_refused_with_the_path_of_a_keyword(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidArgument, match=r"\$(\.|\[)") as refused:
        await check_schema(json.dumps(COSTLY[name]))
    assert (refused.value.field, refused.value.reason) == ("json_schema", "INVALID_SCHEMA")
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("name", AWKWARD)
async def test_an_awkward_schema_costs_the_gateway_neither_time_nor_memory(name: str) -> None:
    process = psutil.Process()
    await check_schema("{}")
    began, before, used = time.monotonic(), process.memory_info().rss, time.process_time()
    outcome = (await asyncio.gather(check_schema(json.dumps(AWKWARD[name])), return_exceptions=True))[0]
    assert outcome is None or isinstance(outcome, TandemError)
    assert time.monotonic() - began < SECONDS
    assert time.process_time() - used < 1
    assert process.memory_info().rss - before < 64 << 20


async def test_a_costly_schema_is_a_bad_request_for_every_client(hardy: Hardy, edge: httpx.Client) -> None:
    schema = COSTLY["a remainder"]
    with pytest.raises(RequestError) as refused:
        await ask(hardy.system, QUESTION, json_schema=json.dumps(schema))
    assert (refused.value.code, refused.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, "json_schema")
    assert "$.multipleOf" in str(refused.value)
    form = {"type": "json_schema", "json_schema": {"name": "number", "schema": schema}}
    sent = body(QUESTION, model=MODEL, response_format=form)
    reply = await asyncio.to_thread(edge.post, "/v1/chat/completions", json=sent)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, "response_format")
    assert "$.multipleOf" in error["message"]


async def test_a_costly_schema_of_a_check_is_a_bad_request(hardy: Hardy) -> None:
    old = json.dumps(AWKWARD["values that an old draft compares in pairs"])
    for schema, words in ((old, "too costly"), ('{"type": 3}', "no JSON schema"), ("{", "no JSON schema")):
        began = time.monotonic()
        with pytest.raises(RequestError, match=words) as refused:
            await ask(hardy.system, QUESTION, checks=[f"json_schema:{schema}"])
        assert (refused.value.code, refused.value.field) == (grpc.StatusCode.INVALID_ARGUMENT, "checks")
        assert time.monotonic() - began < SECONDS


async def test_a_bystander_does_not_wait_for_costly_schemas(hardy: Hardy) -> None:
    async def refused(schema: str) -> bool:
        with pytest.raises(RequestError) as caught:
            await ask(hardy.system, QUESTION, json_schema=schema)
        return caught.value.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)

    async def bystander(number: int) -> float:
        schema: dict[str, Any] = {"type": "object", "properties": {f"a{number}": {"type": "string", "maxLength": 200}}}
        began = time.monotonic()
        assert (await ask(hardy.system, QUESTION, json_schema=json.dumps(schema)))["answer"]
        return time.monotonic() - began

    schemas = [json.dumps({"type": "integer", "multipleOf": 999983 - 2 * i}) for i in range(12)]
    hostile = [asyncio.create_task(refused(schema)) for schema in [*schemas, *map(together, PRIMES[:12])]]
    waits = [await bystander(number) for number in range(5)]
    print("the bystander waited", [round(wait, 2) for wait in waits])
    assert max(waits) < WAIT_SECONDS, waits
    assert all(await asyncio.gather(*hostile))
