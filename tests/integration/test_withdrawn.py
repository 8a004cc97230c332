"""A profile that is being withdrawn: what began goes on and can be read, and nothing new begins."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tandem import RequestError
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS, ask
from tests.integration.conftest import System

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def refusal(system: System, question: str, request_id: str = "") -> str:
    with pytest.raises(RequestError) as caught:
        await ask(system, question, request_id=request_id)
    return caught.value.reason


async def test_a_request_of_a_withdrawn_profile_goes_on_and_no_other_begins(
    system: System, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id, question = uuid4().hex, f"[llm_hold=5:{hold} slm_eos=5] withdrawn?"
    first = asyncio.create_task(ask(system, question, request_id=request_id))
    async with asyncio.timeout(BOUND_SECONDS):
        while not system.llm.running:
            await asyncio.sleep(0.01)
    admission = system.service._admission
    monkeypatch.setattr(admission, "withdrawn", frozenset(admission.profiles))
    assert await refusal(system, "[slm_eos=5] another?") == "PROFILE_WITHDRAWN"
    assert await refusal(system, "[slm_eos=5] another?", uuid4().hex) == "PROFILE_WITHDRAWN"
    assert await refusal(system, "[slm_eos=5] another?", request_id) == "REQUEST_ID_REUSED"
    again = asyncio.create_task(ask(system, question, request_id=request_id))
    hold.release()
    results = await asyncio.gather(first, again)
    assert results[0]["reasoning"]
    assert results[0]["reasoning"] == results[1]["reasoning"]
    assert (await system.client.get(request_id)).result.reasoning == results[0]["reasoning"]
