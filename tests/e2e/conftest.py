from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest

from tandem import Client
from tandem.access.tenants import TenantFile
from tandem.local.supervisor import Stack
from tandem.v1 import tandem_pb2
from tests.conftest import wait_until
from tests.e2e.collector import Collector, attributes
from tests.fakes import write_tokenizer
from tests.stacks import start_stack


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="session")
def variables(
    tmp_path_factory: pytest.TempPathFactory, profiles_folder: Path, collector: Collector
) -> Mapping[str, str]:
    """The local stack's own state folder, the scripted profile and engines, a collector for its traces."""
    models = tmp_path_factory.mktemp("models")
    for name in ("scripted-llm", "scripted-slm"):
        write_tokenizer(models / name)
    return {
        "TANDEM_STATE": str(tmp_path_factory.mktemp("state")),
        "TANDEM_MODELS": str(models),
        "TANDEM_PROFILES_PATH": str(profiles_folder),
        "TANDEM_ENGINE": "tests.fakes:make_engine",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


@contextlib.contextmanager
def in_environment(variables: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True, scope="module")
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """For the tests of one module, and the commands that they run; other modules may follow in any order."""
    with in_environment(variables):
        yield


class LocalStack:
    """The real local stack, whose processes tests kill and start again: they are not restarted by themselves."""

    def __init__(self, stack: Stack, collector: Collector) -> None:
        self.stack, self.collector = stack, collector
        self.client = Client(stack.gateway)

    def pid(self, component: str) -> int:
        with self.stack.supervisor() as supervisor:
            return int(supervisor.getProcessInfo(component)["pid"])

    def kill(self, component: str) -> None:
        """kill -9 once its ended spans are exported, and wait until it is gone."""
        if "metrics" in self.stack.ports[component] and component != "temporal":
            self.wait_until_exported(component)
        process = psutil.Process(self.pid(component))
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: self._state(component) not in ("RUNNING", "STARTING", "STOPPING"))

    def start(self, component: str) -> None:
        with self.stack.supervisor() as supervisor:
            supervisor.startProcess(component, False)

    @contextlib.contextmanager
    def without_retries(self) -> Iterator[None]:
        """Temporal stands still while the block runs: what fails meanwhile is tried again only afterwards."""
        temporal = psutil.Process(self.pid("temporal"))
        temporal.suspend()
        try:
            yield
        finally:
            temporal.resume()

    def wait_until_ready(self, *components: str) -> None:
        """All of them, where none is named."""

        def are_ready() -> bool:
            states = {row.name: row.state for row in self.stack.status()}
            return {states[name] for name in components or states} == {"ready"}

        wait_until(are_ready, 300)

    def wait_until_running(self, component: str, count: int) -> None:
        """Until its engine runs so many sequences, as its metrics say."""
        wait_until(lambda: self._metric(component, 'tandem_engine_requests.*state="running"') == count)

    def wait_until_exported(self, component: str) -> None:
        """Until the spans that it has ended are with the collector: a test then kills it without losing them."""
        names = ("otel_sdk_processor_span_queue_size", "otel_sdk_exporter_span_inflight")
        wait_until(lambda: sum(self._metric(component, name) for name in names) == 0)

    def _metric(self, component: str, pattern: str) -> float:
        """The sum of all series whose name and labels match."""
        url = f"http://127.0.0.1:{self.stack.ports[component]['metrics']}/metrics"
        with urlopen(url, timeout=60) as reply:
            text = reply.read().decode()
        return sum(float(value) for value in re.findall(rf"^{pattern}.*\}} (\S+)$", text, re.M))

    def heal(self) -> None:
        """Start what is not running, and wait until a request passes: processes have found each other again."""
        dead = [row.name for row in self.stack.status() if row.state not in ("ready", "starting")]
        for name in dead:
            self.start(name)
        self.wait_until_ready()
        if dead:
            self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Processes that are ready may not have found each other again."""
        wait_until(self._passes, 300)

    def _passes(self) -> bool:
        result = self.client.ask("[scores=16:0.9 slm_eos=1] healed?")
        return result.stop.reason == tandem_pb2.STOP_REASON_SUFFICIENT and not result.notes

    def trace_agrees_with(self, result: dict[str, Any]) -> None:
        """The leaves of the request's trace add up to its bill: prompt tokens, generated tokens, USD."""
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
            wait_until(agrees)
        except AssertionError:
            leaves = [
                attributes(s) for _, s in self.collector.of_trace(result["trace_id"]) if "tandem.role" in attributes(s)
            ]
            raise AssertionError(f"billed {billed}, {result['cost']['usd']}; leaves {leaves}") from None

    def _state(self, component: str) -> str:
        with self.stack.supervisor() as supervisor:
            return str(supervisor.getProcessInfo(component)["statename"])


@pytest.fixture(scope="session")
def tenants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the stack `running`, in which `acme` alone has limits."""
    file = TenantFile(tmp_path_factory.mktemp("tenants") / "tenants.json")
    file.set("acme", {"usd_per_day": 10, "concurrent_requests": 4})
    return file.path


@pytest.fixture(scope="session")
def running(variables: Mapping[str, str], collector: Collector, tenants: Path) -> Iterator[LocalStack]:
    # On a busy machine a worker that is started again takes longer than a caller waits for one.
    own = {"TANDEM_WORKER_PATIENCE": "60", "TANDEM_TENANTS": str(tenants)}
    with in_environment({**variables, **own}):
        stack = start_stack("scripted")
    yield LocalStack(stack, collector)
    stack.down()


@pytest.fixture
def local(running: LocalStack) -> LocalStack:
    running.heal()
    return running


@pytest.fixture(scope="module")
def stack(running: LocalStack) -> Iterator[Stack]:
    """The same stack, for a module that heals what it kills."""
    running.heal()
    yield running.stack
    running.wait_until_it_answers()
