"""The layers of the sandbox, and which of them this kernel has: found by trying each in a child."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.answer_checker.sandbox import kernel, landlock, namespaces, seccomp
from services.answer_checker.sandbox.limits import Limits

NAMESPACES, LANDLOCK, SECCOMP, RLIMITS = "namespaces", "landlock", "seccomp", "rlimits"
KERNEL_LAYERS = NAMESPACES, LANDLOCK, SECCOMP
SCRATCH_INSIDE = "/scratch"
_NOBODY = 65534
_LIBRARIES = "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"
_DEVICES = "/dev/null", "/dev/zero", "/dev/urandom"


@dataclass(frozen=True, slots=True)
class Isolation:
    """The layers that hold, and why each other one does not."""

    holds: tuple[str, ...]
    lacks: dict[str, str]

    @property
    def is_weak(self) -> bool:
        return not set(KERNEL_LAYERS) & set(self.holds)


def probe(without: Sequence[str] = ()) -> Isolation:
    """Try each layer in a child of this process, which must have one thread only. Those in `without` are not used."""
    readable_paths()  # found once, before the first fork
    lacks = dict.fromkeys(without, "it is switched off")
    for name, attempt in _ATTEMPTS.items():
        if name not in lacks and (reason := _try(attempt)):
            lacks[name] = reason
    return Isolation((*(name for name in KERNEL_LAYERS if name not in lacks), RLIMITS), lacks)


@cache
def readable_paths() -> tuple[str, ...]:
    """Python's own files, installed packages, and the libraries that they are linked to."""
    paths = sysconfig.get_paths()
    folders = [paths["stdlib"], os.path.dirname(paths["stdlib"]), paths["platlib"], paths["purelib"], *_LIBRARIES]
    # Links such as /lib are followed: the real folder is what holds files.
    found = {real for folder in folders if os.path.exists(folder) for real in (folder, os.path.realpath(folder))}
    return tuple(sorted(found))


def enter_namespaces(scratch_bytes: int) -> None:
    """For the parent of the process that is to be isolated. Raises OSError."""
    namespaces.enter(readable_paths(), tempfile.gettempdir(), SCRATCH_INSIDE, scratch_bytes)


def restrict(layers: tuple[str, ...], limits: Limits) -> None:
    """Give up every right of this process that `layers` take, for good. Raises OSError.

    Only namespaces give it a folder to write to: without them nothing would bound what it writes.
    """
    is_private = NAMESPACES in layers
    os.chdir(SCRATCH_INSIDE if is_private else "/")
    limits.apply(may_write=is_private)
    if os.geteuid() == 0 and (is_private or _is_open_to_all(sysconfig.get_paths()["stdlib"])):
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    if sys.platform == "linux":
        kernel.drop_capabilities()
    if LANDLOCK in layers:
        landlock.restrict([*readable_paths(), *_DEVICES], [SCRATCH_INSIDE] if is_private else [])
    if SECCOMP in layers:
        seccomp.load()


def _is_open_to_all(folder: str) -> bool:
    """Whether every user may read it: root's own installation of Python is not."""
    return all(parent.stat().st_mode & 0o001 for parent in (Path(folder), *Path(folder).parents))


def _try(attempt: Callable[[], None]) -> str:
    """Why it fails; empty where it does not."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            attempt()
        except Exception as error:
            os.write(writer, (str(error) or type(error).__name__).encode()[:1000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        reason = pipe.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return reason or (f"the child that tried it ended with {status}" if status else "")


_ATTEMPTS: dict[str, Callable[[], None]] = {
    NAMESPACES: lambda: enter_namespaces(Limits().scratch_bytes),
    LANDLOCK: lambda: landlock.restrict(readable_paths(), []),
    SECCOMP: seccomp.load,
}
