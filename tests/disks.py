"""Disks in memory that can be filled: only for who may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

DISK_BYTES = 1 << 30
_FILL_ATTEMPTS = 20


def mount_disk(folder: Path, *options: str, size: int = DISK_BYTES) -> None:
    """Raises CalledProcessError."""
    _mount("-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "none", str(folder))


@contextmanager
def mounted_disk(folder: Path, size: int) -> Iterator[Path]:
    """A new folder on a disk of so many bytes. Skips the test of who may not mount one."""
    folder.mkdir()
    try:
        mount_disk(folder, size=size)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"needs the right to mount a disk: {error.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        unmount_disk(folder, lazily=False)


def fill_disk(folder: Path) -> None:
    """Make it as small as what is on it; tried again where something was written in between."""
    for _ in range(_FILL_ATTEMPTS):
        disk = os.statvfs(folder)
        with suppress(subprocess.CalledProcessError):
            return _resize(folder, (disk.f_blocks - disk.f_bfree) * disk.f_frsize)
    raise RuntimeError(f"{folder} was written to each time")


def enlarge_disk(folder: Path) -> None:
    """To DISK_BYTES."""
    _resize(folder, DISK_BYTES)


def unmount_disk(folder: Path, *, lazily: bool = True) -> None:
    """`lazily`: also where something on it is in use."""
    subprocess.run(["umount", *(["--lazy"] if lazily else []), str(folder)], check=True, capture_output=True)


def _resize(folder: Path, size: int) -> None:
    _mount("-o", f"remount,size={size}", str(folder))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)
