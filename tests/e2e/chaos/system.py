"""What faults strike: a local stack with the test engines, the links between its processes, its disk, and its worker's
clock.
"""

from __future__ import annotations

import platform
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

from tandem import Client
from tandem.local.layout import Layout, Process
from tandem.local.programs import Program, program
from tandem.local.supervisor import Stack
from tests import stacks
from tests.disks import enlarge_disk, fill_disk, mount_disk, unmount_disk
from tests.links import Links

_FAKETIME = Path(f"/usr/lib/{platform.machine()}-linux-gnu/faketime/libfaketimeMT.so.1")
# The environment is this process's, and so is what is patched while a stack starts.
_STARTING = threading.Lock()
_GRACE_SECONDS = "10"  # a caller may be slow to come back on a busy machine


@dataclass(frozen=True, slots=True)
class System:
    """`client` reaches the gateway by a link, `observer` without one. `http`: URL of OpenAI's API, by a link.

    `clock`: the file by which libfaketime moves the worker's wall clock.
    """

    stack: Stack
    links: Links
    client: Client
    observer: Client
    http: str
    clock: Path

    @contextmanager
    def other_time(self, offset: int) -> Iterator[None]:
        """The worker's wall clock is `offset` seconds off; its monotonic clock goes on."""
        _set_clock(self.clock, offset)
        try:
            yield
        finally:
            _set_clock(self.clock, 0)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Nothing more can be written to the state folder."""
        fill_disk(self.stack.folder)
        try:
            yield
        finally:
            enlarge_disk(self.stack.folder)


@contextmanager
def started_system(values: Mapping[str, str]) -> Iterator[System]:
    """`values`: of the processes' environment."""
    with ExitStack() as until_end:
        links = until_end.enter_context(Links())
        disk = until_end.enter_context(_disk())
        clock = Path(until_end.enter_context(tempfile.TemporaryDirectory())) / "clock"
        _set_clock(clock, 0)

        def linked_program(layout: Layout, process: Process) -> Program:
            found = program(layout, process)
            others = {other.name: layout.address(other.name) for other in layout.processes}
            environment = links.rewired(process.name, found.environment, others)
            if process.name == "worker" and can_move_clock():
                environment |= _clocked(clock)
            return replace(found, environment=environment)

        with _STARTING, patch("tandem.local.supervisord.program", linked_program):
            own = {"TANDEM_STATE": str(disk), "TANDEM_DISCONNECT_GRACE": _GRACE_SECONDS}
            stack = until_end.enter_context(stacks.scripted_stack({**own, **values}))
        client = until_end.enter_context(Client(links.between("client", "gateway", stack.gateway)))
        observer = until_end.enter_context(Client(stack.gateway))
        http = links.between("client", "http-gateway", stack.address("http-gateway"))
        yield System(stack, links, client, observer, f"http://{http}", clock)


@cache
def can_fill_disk() -> bool:
    """Only who may mount one: root, and in a container not even that."""
    with tempfile.TemporaryDirectory() as folder, suppress(subprocess.CalledProcessError, FileNotFoundError):
        mount_disk(Path(folder))
        unmount_disk(Path(folder), lazily=False)
        return True
    return False


def can_move_clock() -> bool:
    """Only libfaketime can, for one process."""
    return _FAKETIME.exists()


def _clocked(clock: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": str(_FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def _set_clock(clock: Path, offset: int) -> None:
    clock.write_text(f"{offset:+d}")


@contextmanager
def _disk() -> Iterator[Path]:
    """A folder, on a disk of its own where that can be."""
    with tempfile.TemporaryDirectory(prefix="tandem-disk-") as folder:
        if not can_fill_disk():
            yield Path(folder)
            return
        mount_disk(Path(folder))
        try:
            yield Path(folder)
        finally:
            unmount_disk(Path(folder))
