"""A process that cannot start says why in its last line, and the command that started it shows that line on the
screen.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.errors import CANNOT_START
from tandem.local.layout import OWN_PROCESSES, PROCESSES
from tandem.local.supervisor import PortTaken, ProcessStatus, Stack
from tandem.paths import REPOSITORY
from tests.fakes import write_tokenizer

MODULES = [process.module for process in OWN_PROCESSES]
PORTS = {process.name: dict(process.ports) for process in PROCESSES if process.name != "jaeger"}
LOG = """\
2026-11-29 20:00:00,000 INFO services.shared.process.server: draining
cannot start: listening on 127.0.0.1:50062 failed: Address already in use
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in ("scripted-llm", "scripted-slm"):
        write_tokenizer(folder / name)
    return folder


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def last_line(module: str, models: Path, **environment: str) -> str:
    """Of a process that ends with code 1 by itself."""
    scripted = {
        "TANDEM_MODELS": str(models),
        "TANDEM_PROFILES_PATH": str(REPOSITORY / "tests/profiles"),
        "TANDEM_PROFILE": "scripted",
        "TANDEM_PROFILES": "scripted",
        "TANDEM_ENGINE": "tests.fakes:make_engine",
        "TANDEM_HTTP_PORT": "0",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    done = subprocess.run(
        [sys.executable, "-m", module],
        cwd=REPOSITORY, env={**os.environ, **scripted, **environment}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("module", MODULES)
def test_a_port_that_is_taken_is_named(module: str, models: Path, taken: int) -> None:
    line = last_line(module, models, TANDEM_PORT=str(taken))
    assert line.startswith(f"{CANNOT_START}listening on 127.0.0.1:{taken} failed: ")


@pytest.mark.parametrize(
    ("module", "variable"),
    [("services.sufficiency_scorer", "TANDEM_HTTP_PORT"), ("services.answer_checker", "TANDEM_METRICS_PORT")],
)
def test_a_second_port_that_is_taken_is_named(module: str, variable: str, models: Path, taken: int) -> None:
    line = last_line(module, models, **{variable: str(taken)})
    assert line.startswith(CANNOT_START)
    assert line.endswith(f"listening on 127.0.0.1:{taken} failed: Address already in use")


@pytest.mark.parametrize(
    ("module", "setting", "said"),
    [
        ("services.insight_generator", {"TANDEM_PROFILES": "nowhere"}, "there is no profile 'nowhere'"),
        ("services.gateway", {"TANDEM_MODELS": "/nowhere"}, "/nowhere/scripted-slm/tokenizer.json is missing"),
        ("services.gateway", {"TANDEM_API_KEYS": "/"}, "/ is no file of `tandem keys`"),
        ("services.gateway", {}, "no Temporal answers at 127.0.0.1:1"),
        ("services.http_gateway", {"TANDEM_TLS_CERT": "/nowhere"}, "set all of TANDEM_TLS_CERT"),
        ("services.http_gateway", {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "OTEL_EXPORTER_OTLP_TIMEOUT"),
        ("services.slm_executor", {"TANDEM_ENGINE": "no_such:engine"}, "TANDEM_ENGINE 'no_such:engine'"),
    ],
)
def test_what_is_wrong_with_a_setting_or_a_file_is_named(
    module: str, setting: dict[str, str], said: str, models: Path
) -> None:
    line = last_line(module, models, **setting)
    assert line.startswith(CANNOT_START)
    assert said in line


def test_the_screen_shows_the_reason_before_what_else_the_process_said(tmp_path: Path) -> None:
    """However much Python says of what ends with the process; and the stack is planned again where a port was the
    reason.
    """
    stack = Stack(tmp_path, "any", PORTS)
    log = stack.log("sufficiency-scorer")
    log.parent.mkdir()
    log.write_text(LOG + "asyncio: Task was destroyed but it is pending!\n" * 100)
    error = stack._ended(ProcessStatus("sufficiency-scorer", "exited", None, "", last_exit="exit status 1"))
    first, *rest = str(error).splitlines()
    assert first == f"sufficiency-scorer ended (exit status 1): {LOG.splitlines()[1]}"
    assert len(rest) == 15
    assert isinstance(error, PortTaken)
