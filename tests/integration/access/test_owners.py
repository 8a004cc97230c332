"""The engines know whose each prompt is: they share what is cached among the prompts of one tenant alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from uuid import uuid4

import pytest

from services.models.engine.api import Finished, GenerationRequest, Token
from tests.conftest import Hold
from tests.fakes import ScriptedEngine
from tests.integration.access.guarded import Guarded
from tests.integration.asking import BOUND_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_engines_know_whose_each_prompt_is(
    guarded: Guarded, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, works = uuid4().hex, list[GenerationRequest]()
    for engine in (guarded.system.llm, guarded.system.slm):
        monkeypatch.setattr(engine, "generate", _recorded(engine, works))
    script = f"[llm_hold=24:{hold} slm_eos=5 scores=32:0.9]"
    asking = asyncio.ensure_future(guarded.clients["other"].ask(script, request_id=request_id))
    async with asyncio.timeout(BOUND_SECONDS):
        while not any(work.max_new_tokens == 0 for work in works):  # prefilled ahead
            await asyncio.sleep(0.01)
    hold.release()
    await asking
    assert len(works) >= 3
    assert {work.cache.owner for work in works if request_id in work.request_id} == {"other"}


def _recorded(
    engine: ScriptedEngine, works: list[GenerationRequest]
) -> Callable[[GenerationRequest], AsyncGenerator[Token | Finished, None]]:
    generate = engine.generate

    def recorded(work: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        works.append(work)
        return generate(work)

    return recorded
