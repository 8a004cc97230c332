"""A system whose tenants have limits, on a Redis of its own that tests may empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from services.gateway.chores import OverdueHolds
from services.shared.request_log.accounts import Standing
from tandem import RequestError, to_dict
from tandem.access.tenants import TenantFile
from tandem.client.clients import AsyncClient
from tests.integration.asking import BOUND_SECONDS
from tests.integration.conftest import System

BRIEF = "[slm_eos=5 scores=0:0.9]"


@dataclass
class Clock:
    """The gateway's; it runs, and tests put it forward."""

    ahead: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Limited:
    system: System
    file: TenantFile
    clock: Clock
    redis: Redis

    def tenant(self, **limits: Any) -> str:
        """A new one with these limits."""
        name = uuid4().hex
        self.file.set(name, limits)
        return name

    async def standing(self, tenant: str) -> Standing:
        return await self.system.log.accounts.standing(tenant, self.clock())

    async def look(self) -> None:
        await OverdueHolds(self.system.tenancy, self.system.log, self.system.workflows.status).look()

    async def has(self, tenant: str, condition: Callable[[Standing], bool]) -> Standing:
        """The tenant's account, once it meets `condition`."""
        return await until(lambda: self.standing(tenant), condition)


async def until(read: Callable[[], Awaitable[Any]], condition: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + BOUND_SECONDS
    while not condition(value := await read()):
        assert time.monotonic() < deadline, value
        await asyncio.sleep(0.02)
    return value


def nano(usd: float) -> int:
    return round(usd * 1e9)


async def refused(client: AsyncClient, question: str, **options: Any) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await client.ask(question, **options)
    return refused.value


async def served(limited: Limited, tenant: str, question: str = BRIEF, **options: Any) -> dict[str, Any]:
    return to_dict(await limited.system.client.ask(question, tenant=tenant, **options))
