from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from tandem.access.tenants import TenantFile
from tests.conftest import run_redis
from tests.integration.conftest import run_system
from tests.integration.tenants.limiting import Clock, Limited


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def limited(
    request: pytest.FixtureRequest,
    own_redis: str,
    temporal_address: str,
    profiles_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Limited]:
    """With task queues of its own: Temporal counts a queue's tenants approximately, and after many it mixes them up."""
    folder, clock = tmp_path_factory.mktemp("tenants"), Clock()
    file, files = TenantFile(folder / "tenants.json"), str(folder / "files")
    file.set("somebody", {})
    running = run_system(
        "scripted", profiles_folder, own_redis, temporal_address,
        alias=request.module.__name__.rpartition("_")[2], files=files, tenants=file.path, clock=clock,
    )  # fmt: skip
    async with running as system, Redis.from_url(own_redis) as redis:
        yield Limited(system, file, clock, redis)


@pytest.fixture(autouse=True)
def _clock_is_right(limited: Limited) -> Iterator[None]:
    yield
    limited.clock.ahead = timedelta()
