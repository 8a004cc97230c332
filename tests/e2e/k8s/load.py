"""Requests that run on the test cluster while something happens to it, and what each of them came to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc

from tandem import AsyncClient, RequestError, to_dict
from tests.e2e.k8s.release import Release

WORK = "[ms=100 slm_eos=60] {}"
"""48 tokens of insight, 60 of answer: some ten seconds."""


async def under_load(
    release: Release, count: int, happen: Callable[[], Awaitable[None]], moment: str = "insight_delta", key: str = ""
) -> list[dict[str, Any]]:
    """What each of `count` requests came to, with `happen` at the first `moment` of one: its error, if any, and its
    bill.

    `key`: the API key of the tenant that asks.
    """
    address = release.gateway
    in_their_midst = asyncio.Event()

    async def one(number: int) -> dict[str, Any]:
        request_id = uuid4().hex
        async with AsyncClient(address, key) as client:
            try:
                async for event in client.solve(WORK.format(number), request_id=request_id):
                    if event.kind == moment:
                        in_their_midst.set()
                error = ""
            except RequestError as failure:
                error = failure.reason or str(failure)
            return {"error": error, "bill": await _bill(client, request_id)}

    async def later() -> None:
        await in_their_midst.wait()
        await happen()

    *seen, _ = await asyncio.gather(*(one(number) for number in range(count)), later())
    return seen


def check_answered(seen: list[dict[str, Any]]) -> None:
    """Each has an answer and a bill."""
    assert [each["error"] for each in seen] == [""] * len(seen)
    for each in seen:
        assert each["bill"]["answer"] or each["bill"]["reasoning"]
        assert each["bill"]["cost"]["usd"] > 0


async def _bill(client: AsyncClient, request_id: str) -> dict[str, Any]:
    """Empty where there is no such request."""
    give_up = time.monotonic() + 600
    while time.monotonic() < give_up:
        try:
            found = await client.get(request_id)
            if found.HasField("result"):
                return to_dict(found.result)
        except RequestError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                return {}
        await asyncio.sleep(0.3)
    return {}
