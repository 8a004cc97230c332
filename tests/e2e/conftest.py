from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tandem import Client
from tandem.local.supervisor import Stack, plan_stack
from tests.conftest import wait_until
from tests.e2e.collector import Collector, attributes
from tests.fakes import write_tokenizer


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="session")
def environment(
    tmp_path_factory: pytest.TempPathFactory, profiles_folder: Path, collector: Collector
) -> Iterator[None]:
    """The local stack's world: its own state folder, the scripted profile and engines, a collector for its traces."""
    models = tmp_path_factory.mktemp("models")
    for name in ("scripted-llm", "scripted-slm"):
        write_tokenizer(models / name)
    values = {
        "TANDEM_STATE": str(tmp_path_factory.mktemp("state")),
        "TANDEM_MODELS": str(models),
        "TANDEM_PROFILES_PATH": str(profiles_folder),
        "TANDEM_ENGINE": "tests.fakes:make_engine",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield


class LocalStack:
    """The real local stack, whose processes tests kill and start again."""

    def __init__(self, stack: Stack, collector: Collector) -> None:
        self.stack, self.collector = stack, collector
        self.client = Client(stack.gateway)

    def pid(self, component: str) -> int:
        with self.stack.supervisor() as supervisor:
            return int(supervisor.getProcessInfo(component)["pid"])

    def kill(self, component: str) -> None:
        """kill -9, and wait until it is gone."""
        process = psutil.Process(self.pid(component))
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: self._state(component) not in ("RUNNING", "STARTING", "STOPPING"))

    def start(self, component: str) -> None:
        with self.stack.supervisor() as supervisor:
            supervisor.startProcess(component, False)

    def heal(self) -> None:
        """Start whatever is not running, and wait until all is ready."""
        for row in self.stack.status():
            if row.state not in ("ready", "starting"):
                self.start(row.name)
        wait_until(lambda: all(row.state == "ready" for row in self.stack.status()), 30)

    def trace_agrees_with(self, result: dict[str, Any]) -> None:
        """The leaves of the request's trace add up to its bill: tokens read, tokens made, USD."""
        usage = result["usage"].values()
        billed = {
            "gen_ai.usage.input_tokens": sum(u["input_tokens"] for u in usage),
            "gen_ai.usage.output_tokens": sum(
                u["output_tokens"] + u["overrun_tokens"] + u["discarded_tokens"] for u in usage
            ),
        }

        def agrees() -> bool:
            sums = self.collector.leaf_sums(result["trace_id"])
            tokens = {name: sums[name] for name in billed}
            return tokens == billed and abs(sums["gen_ai.usage.cost.amount"] - result["cost"]["usd"]) < 1e-12

        try:
            wait_until(agrees, 10)
        except AssertionError:
            leaves = [
                attributes(s) for _, s in self.collector.of_trace(result["trace_id"]) if "tandem.role" in attributes(s)
            ]
            raise AssertionError(f"billed {billed}, {result['cost']['usd']}; leaves {leaves}") from None

    def _state(self, component: str) -> str:
        with self.stack.supervisor() as supervisor:
            return str(supervisor.getProcessInfo(component)["statename"])


@pytest.fixture(scope="session")
def running(environment: None, collector: Collector) -> Iterator[LocalStack]:
    stack = plan_stack("scripted")
    stack.up(lambda *_: None)
    yield LocalStack(stack, collector)
    stack.down()


@pytest.fixture
def local(running: LocalStack) -> LocalStack:
    running.heal()
    return running
