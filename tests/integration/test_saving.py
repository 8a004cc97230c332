"""What a request has saved: nothing where the large model answered alone, and nothing where a limit cut the answer
off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client import REGISTRY

from services.models.engine.api import EngineStopped, Finished, GenerationRequest, Token
from tests.integration.asking import ask, shadow_of
from tests.integration.conftest import CheckedSystems, System
from tests.integration.edge import serving
from tests.integration.test_search import found

pytestmark = pytest.mark.asyncio(loop_scope="session")
ALONE = "[llm=word_ llm_eos=60]"


def cache_all_but(tokens: int, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The large model's cache holds every prompt but its last `tokens`, as the second time the same is asked."""

    def prefill(generation: GenerationRequest) -> tuple[int, int]:
        system.llm.counters.input_tokens += tokens
        return tokens, len(generation.prompt_ids) - tokens

    monkeypatch.setattr(system.llm, "_prefill", prefill)


def lose_the_first_attempt(system: System, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The large model's engine dies after so many tokens, once."""
    whole, lost = system.llm.generate, list[str]()

    async def generate(generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        number = 0
        async with aclosing(whole(generation)) as items:
            async for item in items:
                yield item
                number += 1
                if number == after and not lost:
                    lost.append(generation.request_id)
                    raise EngineStopped("the engine died")

    monkeypatch.setattr(system.llm, "generate", generate)


def counted(name: str, profile: str) -> float:
    return REGISTRY.get_sample_value(f"tandem_cost_{name}_usd_total", {"profile": profile}) or 0.0


def alone_usd(prompt: int, cached: int, written: int) -> float:
    """At the prices of the test profiles."""
    return (prompt * 3 + cached * 1 + written * 6) / 1e6


@pytest.mark.parametrize("num_computed", [1, 7, 10_000])
async def test_a_large_model_that_answers_alone_saves_and_loses_nothing_whatever_its_cache_holds(
    finishing_system: System, monkeypatch: pytest.MonkeyPatch, num_computed: int
) -> None:
    if num_computed < 100:
        cache_all_but(num_computed, finishing_system, monkeypatch)
    cost = (await ask(finishing_system, ALONE, threshold=1))["cost"]
    assert (cost["saved_ratio"], cost["usd_llm_alone"]) == (0, cost["usd"])
    assert cost["tflops_llm_alone"] == pytest.approx(cost["tflops_full"])
    assert cost["llm_alone_is_exact"] is True


async def test_headers_page_list_and_metrics_say_of_it_what_its_bill_says(
    finishing_system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache_all_but(5, finishing_system, monkeypatch)
    tenant, before = uuid4().hex, [counted(name, "scripted-finishing") for name in ("answered", "llm_alone")]
    chat = {
        "model": "scripted-finishing@1.0",
        "messages": [{"role": "user", "content": ALONE}],
        "tandem": {"tenant": tenant},
    }
    async with serving(finishing_system.client.address) as http:
        reply = await http.post("/v1/chat/completions", json=chat)
        assert (reply.headers["x-tandem-saved-ratio"], reply.json()["tandem"]["cost"]["saved_ratio"]) == ("0.0000", 0)
        [row] = await found(finishing_system, f"tenant = {tenant} and state = completed", 1)
        page = (await http.get(f"/api/requests/{row['request_id']}")).json()["result"]
    assert (row["saved_ratio"], page["cost"]["saved_ratio"], page["answered_by"]) == (0, 0, "llm")
    spent, alone = (
        counted(n, "scripted-finishing") - b for n, b in zip(("answered", "llm_alone"), before, strict=True)
    )
    assert spent == pytest.approx(alone) == pytest.approx(row["usd"])


@pytest.mark.parametrize("after", [7, 20])  # nothing, or a stage, is kept of the lost attempt
async def test_only_the_work_of_a_lost_attempt_is_a_loss(
    finishing_system: System, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    lose_the_first_attempt(finishing_system, monkeypatch, after)
    result = await ask(finishing_system, ALONE, threshold=1)
    assert result["attempts"] == 2
    prompt = len(f"user: {ALONE}\nassistant: ")
    assert result["usage"]["llm"]["input_tokens"] >= 2 * prompt
    cost = result["cost"]
    assert cost["usd_llm_alone"] == pytest.approx(alone_usd(prompt, 0, 60), rel=1e-12)
    assert cost["saved_ratio"] == pytest.approx(1 - cost["usd"] / cost["usd_llm_alone"])
    assert cost["saved_ratio"] < 0


async def test_the_shadow_of_a_large_model_that_had_finished_leaves_its_lost_attempt_out(
    shadowed_system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_the_first_attempt(shadowed_system, monkeypatch, 7)
    request_id = uuid4().hex
    result = await ask(shadowed_system, "[llm_eos=20]", request_id=request_id)
    shadow = await shadow_of(shadowed_system, request_id)
    assert result["usage"]["llm"]["discarded_tokens"] > 0
    assert shadow["usd"] == pytest.approx(result["cost"]["usd_llm_alone"], rel=1e-12)


async def test_an_estimate_counts_the_cached_part_of_the_prompt_as_well(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "[fail=score slm_eos=5]"  # no score has read the prompt
    whole = await ask(system, question)
    cache_all_but(5, system, monkeypatch)
    cached = await ask(system, question)
    prompt = len(f"user: {question}\nassistant: ")
    for result in (whole, cached):
        assert result["cost"]["usd_llm_alone"] == pytest.approx((prompt * 3 + 100 * 6) / 1e6)
        assert result["cost"]["llm_alone_is_exact"] is False


async def test_the_large_model_alone_would_have_kept_to_the_requests_own_cap(system: System) -> None:
    result = await ask(system, "[scores=0:0.9 slm_eos=9]", max_answer_tokens=10)
    assert result["complete"]
    assert result["cost"]["usd_llm_alone"] <= alone_usd(len("user: [scores=0:0.9 slm_eos=9]\nassistant: "), 0, 10)


CUT: list[tuple[str, dict[str, Any], str]] = [
    ("[slm_eos=9]", {"max_llm_tokens": 10}, "budget"),  # the small model ends its own; the insight was cut
    ("[slm_eos=999 scores=16:0.9]", {"max_llm_tokens": 10}, "budget"),  # the small model's, at its cap
    ("[slm_eos=999 scores=0:0.9]", {"max_answer_tokens": 10}, "sufficient"),
    ("[llm_eos=999]", {"threshold": 1.0}, "llm_finished"),  # the large model's, at its cap
]


@pytest.mark.parametrize(("script", "options", "reason"), CUT)
async def test_an_answer_that_a_limit_cut_off_has_saved_nothing_anywhere(
    finishing_system: System, script: str, options: dict[str, Any], reason: str
) -> None:
    tenant, before = uuid4().hex, [counted(name, "scripted-finishing") for name in ("answered", "llm_alone")]
    result = await ask(finishing_system, script, tenant=tenant, **options)
    assert (result["complete"], result["stop"]["reason"]) == (script == "[slm_eos=9]", reason)
    assert (result["cost"]["saved_ratio"], result["cost"]["usd"] > 0) == (None, True)
    [row] = await found(finishing_system, f"tenant = {tenant} and state = completed", 1)
    assert (row["usd"], row["saved_ratio"]) == (result["cost"]["usd"], None)
    assert [counted(name, "scripted-finishing") for name in ("answered", "llm_alone")] == before


async def test_the_reply_of_a_cut_answer_has_no_header_of_what_it_saved(http: httpx.AsyncClient) -> None:
    chat = {
        "model": "scripted@0.8", "messages": [{"role": "user", "content": "[slm_eos=999 scores=0:0.9]"}],
        "max_completion_tokens": 10,
    }  # fmt: skip
    reply = await http.post("/v1/chat/completions", json=chat)
    assert reply.json()["choices"][0]["finish_reason"] == "length"
    assert reply.json()["tandem"]["cost"]["saved_ratio"] is None
    assert "x-tandem-saved-ratio" not in reply.headers
    assert float(reply.headers["x-tandem-cost-usd"]) > 0


async def test_a_large_model_whose_answer_a_better_trial_replaced_is_known_exactly(
    checked_systems: CheckedSystems,
) -> None:
    system = await checked_systems("scripted-checked")
    result = await ask(system, "[slm=yes slm_eos=4 llm=no llm_eos=3]", checks=["choice:maybe"])
    assert result["stop"]["reason"] == "unverified_best"
    llm, cost = result["usage"]["llm"], result["cost"]
    assert cost["usd_llm_alone"] == alone_usd(llm["input_tokens"], llm["cached_input_tokens"], llm["output_tokens"])
    assert cost["llm_alone_is_exact"] is True


async def test_every_kind_of_end_says_who_wrote_the_answer(system: System) -> None:
    scripts = {"[scores=16:0.9 slm_eos=5]": "slm", "[llm_eos=20]": "llm", "[scores=0:0.9 slm_eos=5]": "slm"}
    results = await asyncio.gather(*(ask(system, script) for script in scripts))
    assert [result["answered_by"] for result in results] == list(scripts.values())
