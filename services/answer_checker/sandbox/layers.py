"""The layers of the sandbox, and which of them this kernel has: found by trying each in a child."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from services.answer_checker.sandbox import landlock, namespaces, seccomp, users
from services.answer_checker.sandbox.limits import Limits

NAMESPACES, LANDLOCK, SECCOMP, RLIMITS = "namespaces", "landlock", "seccomp", "rlimits"
KERNEL_LAYERS = NAMESPACES, LANDLOCK, SECCOMP
SCRATCH_INSIDE = "/scratch"
_LIBRARIES = "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"
_DEVICES = "/dev/null", "/dev/zero", "/dev/urandom"


@dataclass(frozen=True, slots=True)
class Isolation:
    """The layers that hold, and why each other one does not."""

    holds: tuple[str, ...]
    lacks: dict[str, str]

    @property
    def is_weak(self) -> bool:
        """Whether an answer could harm files of the service's user. Namespaces or landlock guard what is in them, seccomp all else."""
        return SECCOMP not in self.holds or not {NAMESPACES, LANDLOCK} & set(self.holds)


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
    users.give_up_rights(readable_paths())
    if LANDLOCK in layers:
        landlock.restrict([*readable_paths(), *_DEVICES], [SCRATCH_INSIDE] if is_private else [])
    if SECCOMP in layers:
        seccomp.load(may_write=is_private)


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


def _enter_landlock() -> None:
    landlock.restrict(readable_paths(), [])
    _expect_refusal(lambda: os.listdir("/"))


def _load_seccomp() -> None:
    seccomp.load(may_write=False)
    _expect_refusal(lambda: os.getpgid(os.getppid()))


def _expect_refusal(call: Callable[[], object]) -> None:
    """An emulated kernel may take an order and not follow it. Raises OSError then."""
    try:
        call()
    except PermissionError:
        return
    raise OSError("the kernel accepts it, and refuses nothing")


_ATTEMPTS: dict[str, Callable[[], None]] = {
    NAMESPACES: lambda: enter_namespaces(Limits().scratch_bytes),
    LANDLOCK: _enter_landlock,
    SECCOMP: _load_seccomp,
}
