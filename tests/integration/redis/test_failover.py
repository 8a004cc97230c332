"""A primary that is killed while requests run: each request ends with an answer or with "try again", and none hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio

from tandem import to_dict
from tandem.errors import RequestError
from tests.conftest import wait_until
from tests.integration.asking import BOUND_SECONDS, ask, events, kinds
from tests.integration.conftest import System, run_system
from tests.integration.redis.servers import RedisNodes, run_cluster, run_sentinels

pytestmark = pytest.mark.asyncio(loop_scope="session")
NUM_REQUESTS = 20
ELECTION_SECONDS = 15.0  # an answer is retried for longer than the others take to elect a primary
SETS: dict[str, Callable[[Path], AbstractContextManager[RedisNodes]]] = {
    "cluster": run_cluster,
    "sentinels": run_sentinels,
}


@pytest.fixture(scope="module", params=SETS)
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisNodes]:
    with SETS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system(nodes: RedisNodes, temporal_address: str, profiles_folder: Path) -> AsyncIterator[System]:
    alias = "cluster" if "cluster" in nodes.url else "sentinels"
    running = run_system(
        "scripted", profiles_folder, nodes.url, temporal_address, alias=alias, unavailable_seconds=ELECTION_SECONDS
    )
    async with running as system:
        yield system


async def test_a_request_is_stopped_and_answered(system: System) -> None:
    seen = await events(system, "[scores=0:0.1,16:0.9 llm_hold=20 slm_eos=5]")
    result = to_dict(seen[-1].result)
    assert (result["stop"]["reason"], result["notes"]) == ("sufficient", [])
    assert {"insight_delta", "stage_completed", "scored", "llm_stopped", "answer_delta", "completed"} <= set(
        kinds(seen)
    )


async def test_a_stop_reaches_the_writer_before_its_next_token(system: System) -> None:
    result = await ask(system, "[scores=0:0.1,16:0.9 llm_hold=18 slm_eos=5]")
    assert result["stop"]["reason"] == "sufficient"


async def test_no_request_hangs_or_fails_for_good_when_a_primary_is_killed(system: System, nodes: RedisNodes) -> None:
    running = [Asked(system, f"{uuid4().hex}") for _ in range(NUM_REQUESTS)]
    asked = [asyncio.create_task(each.ask()) for each in running]
    await asyncio.wait_for(asyncio.gather(*(each.began.wait() for each in running)), BOUND_SECONDS)
    before = set(nodes.primaries())
    nodes.kill(min(before))
    ended = await asyncio.wait_for(asyncio.gather(*asked), BOUND_SECONDS)
    again = await asyncio.gather(*(each.ask() for each in running))
    assert [error for error in ended if error and not is_try_again(error)] == []
    assert [error for error in again if error] == []
    assert (await ask(system, "[scores=0:0.1,16:0.9 slm_eos=5]"))["stop"]["reason"] == "sufficient"
    wait_until(lambda: len(nodes.primaries()) == len(before))  # one that was elected in vain is told so a moment later
    assert len(before - set(nodes.primaries())) == 1


class Asked:
    """A request that takes some seconds, asked as often as a test likes."""

    def __init__(self, system: System, request_id: str) -> None:
        self._system, self._request_id = system, request_id
        self.began = asyncio.Event()

    async def ask(self) -> RequestError | None:
        """What it fails with."""
        options: dict[str, Any] = {"request_id": self._request_id}
        try:
            async for event in self._system.client.solve("[ms=100 scores=0:0.1 slm_eos=40]", **options):
                if event.kind == "insight_delta":
                    self.began.set()
        except RequestError as error:
            return error
        return None


def is_try_again(error: RequestError) -> bool:
    return error.code is grpc.StatusCode.UNAVAILABLE
