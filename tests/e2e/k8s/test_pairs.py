"""A pair is added, changed and withdrawn while requests run: none is lost, and each stays with the profile that it
began with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tandem import AsyncClient, Client, RequestError
from tandem.v1 import tandem_pb2
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.release import MODELS, Release, eventually, installed
from tests.e2e.k8s.values import scripted_profile, sharing_pair

pytestmark = pytest.mark.timeout(1800)
WORK = "[ms=200 slm_eos=60] {}"  # 48 tokens of insight, 60 of answer: some twenty seconds
SECOND = "second"
CHANGED = {"stage_zero_threshold": "0.9", "question": '"Again: {question}"'}


def second(*, withdrawn: bool = False, **changed: str) -> dict[str, Any]:
    """A pair with a worker of its own, and the first one's models."""
    return sharing_pair(SECOND, scripted_profile(SECOND, **changed), withdrawn=withdrawn)


@pytest.fixture(scope="module")
def pairs(cluster: Cluster) -> Iterator[Release]:
    with installed(Release(cluster, "pairs", scripted=True)) as release:
        yield release


@asynccontextmanager
async def requests(release: Release, profile: str) -> AsyncIterator[list[tandem_pb2.SolveResult]]:
    """Five that run while the block does; afterwards, their results."""
    running = [asyncio.Event() for _ in range(5)]
    results: list[tandem_pb2.SolveResult] = []

    async def ask(number: int) -> None:
        async with AsyncClient(release.gateway) as client:
            async for event in client.solve(WORK.format(number), profile=profile):
                running[number].set()
                if event.kind == "completed":
                    results.append(event.result)

    asked = [asyncio.create_task(ask(number)) for number in range(5)]
    await asyncio.gather(*(each.wait() for each in running))
    yield results
    await asyncio.gather(*asked)


async def upgraded(release: Release, *profiles: dict[str, Any]) -> None:
    await asyncio.to_thread(release.upgrade, values={"profiles": list(profiles)})


def answers(release: Release, profile: str) -> Callable[[], bool]:
    def look() -> bool:
        try:
            with Client(release.gateway) as client:
                return bool(client.ask("[slm_eos=5] who?", profile=profile).reasoning)
        except RequestError:
            return False

    return look


async def test_a_pair_is_added_changed_and_withdrawn_under_requests(pairs: Release) -> None:
    steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("scripted", lambda: upgraded(pairs, second())),
        (SECOND, lambda: upgraded(pairs, second(stage_zero_threshold="0.9"))),
        (SECOND, lambda: upgraded(pairs, second(**CHANGED))),  # model pods read the prompts a minute or two later
        (SECOND, lambda: upgraded(pairs, second(**CHANGED, withdrawn=True))),
    ]
    for profile, change in steps:
        if profile == SECOND:
            await asyncio.to_thread(eventually, "the second pair", answers(pairs, SECOND), 300)
        async with requests(pairs, profile) as results:
            await change()
        assert [bool(result.reasoning) for result in results] == [True] * 5, profile
        assert {result.profile for result in results} == {profile}
    with Client(pairs.gateway) as client, pytest.raises(RequestError) as refused:
        client.ask("[slm_eos=5] who?", profile=SECOND)
    assert refused.value.reason == "PROFILE_WITHDRAWN"
    async with requests(pairs, "scripted") as results:
        await upgraded(pairs)
    assert [bool(result.reasoning) for result in results] == [True] * 5
    assert pairs.is_ready(MODELS[0])
    with Client(pairs.gateway) as client, pytest.raises(RequestError) as unknown:
        client.ask("[slm_eos=5] who?", profile=SECOND)
    assert unknown.value.reason == "UNKNOWN_PROFILE"
