"""What faults strike: a local stack with the test engines, the links between its processes, and the disk that it writes to."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

from tandem import Client
from tandem.local.layout import Layout, Process
from tandem.local.programs import Program, program
from tandem.local.supervisor import Stack
from tests import stacks
from tests.links import Links

_DISK_BYTES = 1 << 30
_FILL_ATTEMPTS = 20
_GRACE_SECONDS = "10"  # a caller may be slow to come back on a busy machine


@dataclass(frozen=True, slots=True)
class System:
    """`client` reaches the gateway by a link, `observer` without one. `http`: URL of OpenAI's API, by a link."""

    stack: Stack
    links: Links
    client: Client
    observer: Client
    http: str

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Nothing more can be written to the state folder."""
        _fill(self.stack.folder)
        try:
            yield
        finally:
            _resize(self.stack.folder, _DISK_BYTES)


@contextmanager
def started_system(values: Mapping[str, str]) -> Iterator[System]:
    """`values`: of the processes' environment."""
    with ExitStack() as until_end:
        links = until_end.enter_context(Links())
        disk = until_end.enter_context(_disk())

        def linked_program(layout: Layout, process: Process) -> Program:
            found = program(layout, process)
            others = {other.name: layout.address(other.name) for other in layout.processes}
            return replace(found, environment=links.rewired(process.name, found.environment, others))

        with patch("tandem.local.configuration.program", linked_program):
            own = {"TANDEM_STATE": str(disk), "TANDEM_DISCONNECT_GRACE": _GRACE_SECONDS}
            stack = until_end.enter_context(stacks.scripted_stack({**own, **values}))
        client = until_end.enter_context(Client(links.between("client", "gateway", stack.gateway)))
        observer = until_end.enter_context(Client(stack.gateway))
        http = links.between("client", "http-gateway", stack.address("http-gateway"))
        yield System(stack, links, client, observer, f"http://{http}")


def can_fill_disk() -> bool:
    """Only root may mount one."""
    return os.geteuid() == 0


@contextmanager
def _disk() -> Iterator[Path]:
    """A folder, on a disk of its own where that can be."""
    with tempfile.TemporaryDirectory(prefix="tandem-disk-") as folder:
        if not can_fill_disk():
            yield Path(folder)
            return
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "none", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(folder: Path) -> None:
    """Make the disk as small as what is on it; tried again where something was written in between."""
    for _ in range(_FILL_ATTEMPTS):
        disk = os.statvfs(folder)
        with suppress(subprocess.CalledProcessError):
            return _resize(folder, (disk.f_blocks - disk.f_bfree) * disk.f_frsize)
    raise RuntimeError(f"{folder} was written to each time")


def _resize(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True, capture_output=True)
