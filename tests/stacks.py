"""Local stacks of their own for tests and benches: started with an explicit environment, killed and healed by
component.

Their processes are not restarted by themselves: a test decides how long one stays dead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import psutil
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from redis import Redis

from tandem.local import planning
from tandem.local.supervisor import Stack
from tests.fakes import write_tokenizer

SCRIPTED_PROFILES = Path(__file__).parent / "profiles"
_READY_SECONDS = 300.0
_SECONDS_DOWN = 0.2


@contextlib.contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables (None: unset) for the block, and restore what was there, whatever ends the block."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


@contextlib.contextmanager
def started_stack(
    profile: str, values: Mapping[str, str | None], *, jaeger: bool = False, tls: bool = False
) -> Iterator[Stack]:
    """A running stack in a state folder of its own; `values` is the environment of its processes.

    The variables are set only while the stack starts, because the processes inherit them from this one.
    """
    with tempfile.TemporaryDirectory(prefix="tandem-stack-") as folder:
        with environment({"TANDEM_STATE": folder, **values}):
            stack = start_stack(profile, jaeger=jaeger, tls=tls)
        try:
            yield stack
        finally:
            stack.down()


def start_stack(profile: str, *, jaeger: bool = False, tls: bool = False) -> Stack:
    """A running stack."""
    return planning.start_stack(profile, jaeger=jaeger, restarts=False, tls=tls)


@contextlib.contextmanager
def scripted_stack(
    values: Mapping[str, str | None] | None = None, *, profile: str = "scripted", tls: bool = False
) -> Iterator[Stack]:
    """A running stack whose engines follow the script in the question (tests.fakes); `profile` is one of
    SCRIPTED_PROFILES.
    """
    with tempfile.TemporaryDirectory(prefix="tandem-models-") as models:
        for name in ("scripted-llm", "scripted-slm"):
            write_tokenizer(Path(models) / name)
        scripted = {
            "TANDEM_MODELS": models,
            "TANDEM_PROFILES_PATH": str(SCRIPTED_PROFILES),
            "TANDEM_ENGINE": "tests.fakes:make_engine",
        }
        with started_stack(profile, {**scripted, **(values or {})}, tls=tls) as stack:
            yield stack


def pid_of(stack: Stack, component: str) -> int:
    """Process id of a component; 0 where it does not run."""
    with stack.supervisor() as supervisor:
        return int(supervisor.getProcessInfo(component)["pid"])


def kill(stack: Stack, component: str) -> None:
    """Send SIGKILL, and wait until the process is gone."""
    process = psutil.Process(pid_of(stack, component))
    os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs([process], timeout=60)


def start(stack: Stack, component: str) -> None:
    with stack.supervisor() as supervisor:
        supervisor.startProcess(component, False)


def restart(stack: Stack, component: str) -> None:
    """Kill it, and start it a moment later."""
    kill(stack, component)
    time.sleep(_SECONDS_DOWN)
    start(stack, component)


@contextlib.contextmanager
def redis_of(stack: Stack) -> Iterator[Redis]:
    host, _, port = stack.address("redis").partition(":")
    with Redis(host=host, port=int(port), socket_timeout=10, decode_responses=True) as redis:
        yield redis


def metrics_of(stack: Stack, process: str) -> list[Sample]:
    """What the process exports now. Raises URLError."""
    with urlopen(f"http://127.0.0.1:{stack.ports[process]['metrics']}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def heal(stack: Stack) -> None:
    """Start what does not run, and wait until every process is ready."""
    for row in stack.status():
        if row.state not in ("ready", "starting"):
            start(stack, row.name)
    deadline = time.monotonic() + _READY_SECONDS
    while unready := [row.name for row in stack.status() if row.state != "ready"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {_READY_SECONDS:.0f} s: {', '.join(unready)}")
        time.sleep(0.1)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
