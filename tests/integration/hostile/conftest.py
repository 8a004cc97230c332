"""A system with a file store and an answer checker, which a hostile test leaves as it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio

from services.answer_checker.service import NAME as CHECKER
from services.insight_generator.service import NAME as GENERATOR
from services.slm_executor.service import NAME as EXECUTOR
from services.sufficiency_scorer.service import NAME as SCORER
from tests.contracts import Method
from tests.integration.asking import ask
from tests.integration.conftest import System, run_system
from tests.integration.edge import serving
from tests.integration.hostile.bystander import TALLY, asking
from tests.integration.hostile.claims import BOUND_SECONDS, WAIT_SECONDS

_MOST_MORE_FDS = 64  # connections that are being closed


@dataclass(frozen=True)
class Hardy:
    """Where each service is found; the gateway's are at the system's own address."""

    system: System
    addresses: dict[str, str]

    def address_of(self, method: Method) -> str:
        return self.addresses.get(method.service, self.system.client.address)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def target(
    redis_url: str,
    temporal_address: str,
    profiles_folder: Path,
    checker_address: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Hardy]:
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address, checker_address,
        alias="hostile", files=str(tmp_path_factory.mktemp("hostile")),
    )  # fmt: skip
    async with running as system:
        addresses = {
            GENERATOR: system.generator_address,
            EXECUTOR: system.executor_address,
            SCORER: system.scorer_address,
            CHECKER: checker_address,
        }
        yield Hardy(system, addresses)


@contextlib.asynccontextmanager
async def left_as_it_was(target: Hardy) -> AsyncIterator[None]:
    """Afterwards the system answers as before, and holds nothing of what was sent."""
    process = psutil.Process()
    before = process.num_fds()
    yield
    assert (await ask(target.system, "[scores=16:0.9 slm_eos=5]"))["answer"]
    async with asyncio.timeout(BOUND_SECONDS):
        while not target.system.idle() or process.num_fds() > before + _MOST_MORE_FDS:
            await asyncio.sleep(0.05)


@pytest_asyncio.fixture(loop_scope="session")
async def hardy(target: Hardy) -> AsyncIterator[Hardy]:
    async with left_as_it_was(target):
        yield target


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bystander(target: Hardy) -> AsyncIterator[None]:
    """Asks while the tests of a module run, and never waits long."""
    async with left_as_it_was(target), asking(target.system, WAIT_SECONDS):
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY.inputs:
        terminalreporter.write_line(f"hostile inputs: {TALLY}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge(target: Hardy) -> AsyncIterator[httpx.Client]:
    """A client that blocks, for claims that run in a thread."""
    async with serving(target.system.client.address) as found:
        with httpx.Client(base_url=found.base_url, timeout=BOUND_SECONDS) as http:
            yield http
