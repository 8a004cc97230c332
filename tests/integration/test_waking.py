"""A large model without pods: the first request waits for the one that starts, where its profile says so."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from services.insight_generator.generator import InsightGenerator
from services.models.generation.role_generator import GenerationEvent
from tandem.method.errors import Unavailable
from tandem.method.request.job import Step
from tandem.method.request.request import SolveRequest
from tests.integration.asking import ask, changed
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of requests to refuse, each once, as a service that cannot be reached does."""
    left: list[str] = []
    generate = InsightGenerator.generate

    async def refused_first(
        self: InsightGenerator, request: SolveRequest, step: Step
    ) -> AsyncGenerator[GenerationEvent, None]:
        if left:
            left.pop()
            raise Unavailable("no pod is there")
        async for event in generate(self, request, step):
            yield event

    monkeypatch.setattr(InsightGenerator, "generate", refused_first)
    return left


async def test_a_request_waits_for_a_large_model_that_starts_and_says_so(
    system: System, monkeypatch: pytest.MonkeyPatch, refusals: list[str]
) -> None:
    changed(system, monkeypatch, llm_unavailable_timeout_seconds=20)
    refusals += ["refused"] * 5
    result = await ask(system, "[scores=16:0.9 slm_eos=5]")
    assert refusals == []
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 1)
    assert any("the large model could not be reached at first: attempt 6 reached it" in n for n in result["notes"])


async def test_without_patience_the_small_model_answers_alone(system: System, refusals: list[str]) -> None:
    refusals += ["refused"] * 5
    result = await ask(system, "[scores=16:0.9 slm_eos=5]")
    assert len(refusals) == 1  # four attempts
    assert result["stop"]["reason"] == "llm_unavailable"
    refusals.clear()


async def test_a_large_model_that_was_named_is_waited_for_as_long_as_a_small_one(
    finishing_system: System, monkeypatch: pytest.MonkeyPatch, refusals: list[str]
) -> None:
    changed(finishing_system, monkeypatch, unavailable_timeout_seconds=20)
    refusals += ["refused"] * 5
    result = await ask(finishing_system, "[llm_eos=9]", threshold=1)
    assert refusals == []
    assert (result["stop"]["reason"], result["answered_by"]) == ("llm_finished", "llm")
    assert any("attempt 6 reached it" in note for note in result["notes"])
