"""Nodes and folders of the test cluster, and what its parts ask of the machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_cache_path

HERE = Path(__file__).parent
_PATIENCE_SECONDS = 300.0


def cache_folder() -> Path:
    """Programs, images and state of the cluster."""
    return Path(os.environ.get("TANDEM_K8S") or user_cache_path("tandem") / "k8s")


@dataclass(frozen=True)
class Node:
    """`index` is 1 or 2; `gpus` fake devices; `labels` as kubectl takes them."""

    index: int
    gpus: int
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"kn{self.index}"

    @property
    def address(self) -> str:
        return f"172.30.0.{self.index}"


# Each release takes two devices of the first node and one of the second; several are installed at once.
NODES = (Node(1, 16, ("tandem.dev/pool=slm",)), Node(2, 8, ("tandem.dev/pool=llm",)))


@dataclass(frozen=True)
class Layout:
    """Where everything of one cluster stands."""

    folder: Path = field(default_factory=cache_folder)
    nodes: tuple[Node, ...] = NODES

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.run / "kubeconfig"


def call(*command: str) -> str:
    """What the program prints. Raises CalledProcessError."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(what: str, condition: Callable[[], object], seconds: float = _PATIENCE_SECONDS) -> None:
    """Wait for `condition`; a program that fails meanwhile is run again. Raises TimeoutError, from its last failure."""
    give_up = time.monotonic() + seconds
    failure: Exception | None = None
    while True:
        try:
            if condition():
                return
        except (subprocess.CalledProcessError, RuntimeError) as error:
            failure = error
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s") from failure
        time.sleep(0.1)


def mounts(prefix: str) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(point for line in lines if (point := line.split()[4]).startswith(prefix))
