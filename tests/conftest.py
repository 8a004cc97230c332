from __future__ import annotations

import os

# Each of a run's processes computes in one thread, and what it starts does: `make` runs one of them for each core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import services.models.engine  # noqa: F401  # isort: skip  # before torch: it sets how torch's threads wait

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import torch
from hypothesis import settings
from prometheus_client import REGISTRY

from services.shared.observability import tenant_metrics
from tandem.local.ports import free_port
from tandem.local.probes import answers_ping, is_serving
from tandem.local.programs import TEMPORAL_FLAGS
from tandem.paths import find_binary
from tests.stacks import environment
from tests.summary import pytest_terminal_summary  # noqa: F401

torch.set_num_threads(1)
# The same examples in every run: a test that fails has met a change, not a draw.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# A workflow is deleted once its last task is known to be done, which Temporal writes down every 30 seconds by default.
_QUICK_DELETION = [
    word
    for queue in ("transfer", "visibility")
    for word in ("--dynamic-config-value", f'history.{queue}ProcessorUpdateAckInterval="1s"')
]
_BOUND_SECONDS = 120.0  # of every wait for an event: how long a busy machine may take
_START_ATTEMPTS = 5


def wait_until(condition: Callable[[], object], seconds: float = _BOUND_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(0.02)


@contextlib.contextmanager
def run_server(command: Callable[[int], list[str]], is_ready: Callable[[int], bool]) -> Iterator[int]:
    """Run `command(port)` until the block ends. A server that ends before it is ready is started again on another
    port.
    """
    for _ in range(_START_ATTEMPTS):
        port = free_port()
        process = psutil.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: process.poll() is not None or (_listens(process, port) and is_ready(port)))  # noqa: B023
            if process.poll() is None:
                yield port
                return
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    raise RuntimeError(f"a server ended {_START_ATTEMPTS} times before it was ready: {command(port)[0]}")


def _listens(process: psutil.Popen, port: int) -> bool:
    """Whether it is this process that answers there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        look = getattr(process, "net_connections", None) or process.connections  # the name before psutil 6
        return any(c.laddr.port == port for c in look("tcp") if c.status == psutil.CONN_LISTEN)
    return False


@pytest.fixture(scope="session", autouse=True)
def no_stack_of_the_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the stack that its user may have running."""
    with environment({"TANDEM_STATE": str(tmp_path_factory.mktemp("state"))}):
        yield


@contextlib.contextmanager
def run_redis(folder: Path) -> Iterator[str]:
    """The URL of a real redis-server, empty."""
    program = str(find_binary("redis-server"))

    def command(port: int) -> list[str]:
        return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]

    with run_server(command, answers_ping) as port:
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with run_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Temporal server with push cancellation on."""
    program, file = str(find_binary("temporal")), str(tmp_path_factory.mktemp("temporal") / "temporal.db")

    def command(port: int) -> list[str]:
        ports = ["--port", str(port), "--http-port", str(free_port()), "--metrics-port", str(free_port())]
        start = [program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", *ports]
        return [*start, "--db-filename", file, "--log-level", "error", *TEMPORAL_FLAGS, *_QUICK_DELETION]

    with run_server(command, lambda port: is_serving(port, "temporal.api.workflowservice.v1.WorkflowService")) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def profiles_folder() -> Path:
    return Path(__file__).parent / "profiles"


class Hold:
    """Scripted models wait while its file exists: `[llm_hold=24:{hold}]`, then `hold.release()`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.touch()

    def __str__(self) -> str:
        return str(self._file)

    def release(self) -> None:
        self._file.unlink(missing_ok=True)


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    held = Hold(tmp_path / "hold")
    yield held
    held.release()


# -- no test reaches another ------------------------------------------------------------------------------------


# Set by pytest, by torch when it compiles for the first time, and by scikit-learn when it is imported.
_OWNED_BY_OTHERS = (
    "PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK",
)  # fmt: skip


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OWNED_BY_OTHERS}


def _folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "a folder that is gone"


@contextlib.contextmanager
def unchanged_process(who: str) -> Iterator[None]:
    """Fail, and restore, where the block leaves another environment or another working directory behind."""
    environment, folder = _environment(), _folder()
    yield
    now = _environment()
    changed = sorted(n for n in environment.keys() | now.keys() if environment.get(n) != now.get(n))
    for name in changed:
        if name in environment:
            os.environ[name] = environment[name]
        else:
            del os.environ[name]
    left = [f"the environment variables {', '.join(changed)}"] if changed else []
    if _folder() != folder:
        os.chdir(folder)
        left.append("the working directory")
    if left:
        pytest.fail(f"{who} left changed: {' and '.join(left)}; use monkeypatch or a fixture that restores them")


@pytest.fixture(autouse=True, scope="module")
def _module_leaves_the_process_unchanged(request: pytest.FixtureRequest) -> Iterator[None]:
    """A fixture may change the environment for its module at most: modules run in any order."""
    with unchanged_process(request.node.nodeid):
        yield


@pytest.fixture(autouse=True)
def _test_leaves_the_process_unchanged(request: pytest.FixtureRequest) -> Iterator[None]:
    with unchanged_process(request.node.nodeid):
        yield


@pytest.fixture
def own_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry of metrics is the process's: this test sees none of the series that others have counted, and they
    none of its own.
    """
    for collector in REGISTRY._collector_to_names:
        if getattr(collector, "_labelnames", ()):
            monkeypatch.setattr(collector, "_metrics", {})
    monkeypatch.setattr(tenant_metrics, "_named", set())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # In several processes a long file that begins last keeps all but one of them waiting.
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
