"""Shadows: the large model answers a request a second time, and its cost is shown separately."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from temporalio.service import RPCError, RPCStatusCode

from services.models.engine.api import Finished, GenerationRequest, Token
from tandem import Client, to_dict
from tandem.client.spending import Sum, spending
from tandem.method.names import shadow_id
from tests.command import tandem
from tests.integration.asking import BOUND_SECONDS, shadow_of
from tests.integration.conftest import SPANS, System

pytestmark = pytest.mark.asyncio(loop_scope="session")


def num_agreeing() -> float:
    labels = {"profile": "scripted-shadow", "agrees": "true"}
    return REGISTRY.get_sample_value("tandem_shadow_requests_total", labels) or 0.0


async def test_a_shadow_measures_what_the_large_model_alone_costs(system: System, shadowed_system: System) -> None:
    request_id, before = uuid4().hex, shadowed_system.llm.counters.output_tokens
    agreeing = num_agreeing()
    question = r"[ms=5 scores=16:0.9 slm=\boxed{4}_ slm_eos=12 llm=\boxed{4}_ llm_eos=60] what?"
    result = to_dict(await shadowed_system.client.ask(question, request_id=request_id))
    shadow = await shadow_of(shadowed_system, request_id)
    assert shadow["output_tokens"] == 60
    assert (shadow["answer"], shadow["agrees"]) == ("4", True)
    assert shadow["usd"] == shadow["usd_paid"] > 0
    assert shadow["usd_served"] == result["cost"]["usd"]
    # The bill does not contain it: the engine generated both.
    usage = result["usage"]["llm"]
    billed = usage["output_tokens"] + usage["overrun_tokens"]
    assert shadowed_system.llm.counters.output_tokens - before == billed + 60
    assert num_agreeing() == agreeing + 1
    # Nor does its trace.
    leaves = [
        span
        for span in SPANS.get_finished_spans()
        if (span.attributes or {}).get("tandem.request.id") == shadow_id(request_id)
    ]
    assert leaves
    assert result["trace_id"] not in {f"{span.context.trace_id:032x}" for span in leaves}


async def test_a_large_model_that_had_finished_is_not_asked_again(shadowed_system: System) -> None:
    request_id, before = uuid4().hex, shadowed_system.llm.counters.output_tokens
    await shadowed_system.client.ask("[llm_eos=20]", request_id=request_id)
    shadow = await shadow_of(shadowed_system, request_id)
    assert shadow["usd_paid"] == 0 < shadow["usd"]
    assert shadowed_system.llm.counters.output_tokens - before == 20


async def test_what_shadows_cost_is_part_of_what_was_spent_and_of_no_bill(shadowed_system: System) -> None:
    began, tenant, about = datetime.now(UTC), uuid4().hex[:12], {"session": "agent"}
    script, names = "[ms=1 scores={}0:0.9 slm_eos=5 llm_eos={}]", [uuid4().hex for _ in range(3)]
    texts = [script.format("", 30), script.format("", 40), "[scores=0:0.1,16:0.1 llm_eos=5]"]
    results = [
        to_dict(await shadowed_system.client.ask(text, request_id=name, tenant=tenant, **about))
        for text, name in zip(texts, names, strict=True)
    ]
    paid = [(await shadow_of(shadowed_system, name))["usd_paid"] for name in names]
    assert [usd > 0 for usd in paid] == [True, True, False]  # the last one's large model had answered

    def summed() -> dict[tuple[str, ...], Sum]:
        with Client(shadowed_system.client.address) as client:
            return spending(client, began, ["tenant", "session"])

    async with asyncio.timeout(BOUND_SECONDS):
        while (found := (await asyncio.to_thread(summed)).get((tenant, "agent"), Sum())).shadows < sum(paid) * 0.999:
            await asyncio.sleep(0.05)
    assert found.shadows == pytest.approx(sum(paid))
    assert (found.requests, found.open) == (3, 0)
    assert found.usd == pytest.approx(sum(result["cost"]["usd"] for result in results))
    told = await asyncio.to_thread(
        tandem, "spend", "--by", "tenant", "--json", TANDEM_ADDRESS=shadowed_system.client.address
    )
    [row] = [row for row in json.loads(told.stdout) if row["tenant"] == tenant]
    assert (row["requests"], row["shadows"]) == (3, pytest.approx(sum(paid)))


async def test_only_a_profile_with_shadows_starts_one(system: System, shadowed_system: System) -> None:
    """A shadow is started before its request's workflow ends, so Temporal knows it by then or never."""
    ids = {"scripted": uuid4().hex, "scripted-shadow": uuid4().hex}
    for used, request_id in zip((system, shadowed_system), ids.values(), strict=True):
        await used.client.ask("[scores=16:0.9 slm_eos=5 llm_eos=30]", request_id=request_id)
        await used.temporal.get_workflow_handle(request_id).result()
    await shadow_of(shadowed_system, ids["scripted-shadow"])
    with pytest.raises(RPCError) as refused:
        await system.temporal.get_workflow_handle(shadow_id(ids["scripted"])).describe()
    assert refused.value.status is RPCStatusCode.NOT_FOUND
    assert not (await system.client.get(ids["scripted"])).HasField("shadow")


async def test_the_shadow_of_structured_output_is_held_to_the_schema(
    shadowed_system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas: dict[str, str] = {}
    generate = shadowed_system.llm.generate

    def recorded(generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        schemas[generation.request_id] = str(generation.held_to)
        return generate(generation)

    monkeypatch.setattr(shadowed_system.llm, "generate", recorded)
    request_id, schema = uuid4().hex, '{"type": "object"}'
    await shadowed_system.client.ask(
        '[scores=0:0.9 slm={"a":_1} slm_eos=9 llm_eos=5] ?', request_id=request_id, json_schema=schema
    )
    await shadow_of(shadowed_system, request_id)
    assert [held for key, held in schemas.items() if key.startswith(shadow_id(request_id))] == [schema]
