"""Room for a model, asked for before a download begins: a disk that fills up halfway costs an hour and says less."""

from __future__ import annotations

import shutil
from pathlib import Path

from tandem.local.catalogue import ModelError

_MIB, _GIB = 1 << 20, 1 << 30


class NoRoom(ModelError):
    """A disk is too small; no other source of the same model would help."""


def require_room(folder: Path, needed: int, what: str) -> None:
    """`needed`: bytes that are still to be written below `folder`, which exists. Raises NoRoom."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise NoRoom(
            f"{what} needs {_amount(needed)} more in {folder}, which has {_amount(free)} free: make room there, or set "
            "TANDEM_MODELS to another folder"
        )


def size_of(folder: Path) -> int:
    """Bytes of all files below `folder`; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _amount(size: int) -> str:
    return f"{size / _GIB:.1f} GiB" if size >= _GIB else f"{size / _MIB:.1f} MiB"
