from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tandem.local.probes import answers_ping, is_serving
from tandem.local.programs import TEMPORAL_FLAGS
from tandem.paths import find_binary

torch.set_num_threads(2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition, seconds: float = 20.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real redis-server, empty."""
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = [
        str(find_binary("redis-server")),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        str(folder),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_until(lambda: answers_ping(port))
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Temporal server with push cancellation on."""
    port, file = free_port(), tmp_path_factory.mktemp("temporal") / "temporal.db"
    command = [
        str(find_binary("temporal")),
        "server",
        "start-dev",
        "--headless",
        "--ip",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    command += ["--http-port", str(free_port()), "--metrics-port", str(free_port())]
    command += ["--db-filename", str(file), "--log-level", "error", *TEMPORAL_FLAGS]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: is_serving(port, "temporal.api.workflowservice.v1.WorkflowService"))
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.fixture(scope="session")
def profiles_folder() -> Path:
    return Path(__file__).parent / "profiles"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU"))
