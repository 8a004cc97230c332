"""The layers of the sandbox, and which of them this kernel has: found by trying each in a child. The limits of what a
process may use.
"""

from __future__ import annotations

import os
import resource
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.answer_checker.sandbox import kernel, landlock, namespaces, seccomp

_MIB = 1 << 20
NAMESPACES, LANDLOCK, SECCOMP, RLIMITS = "namespaces", "landlock", "seccomp", "rlimits"
KERNEL_LAYERS = NAMESPACES, LANDLOCK, SECCOMP
SCRATCH_INSIDE = "/scratch"
_LIBRARIES = "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"
_DEVICES = "/dev/null", "/dev/zero", "/dev/urandom"
_NOBODY = 65534
_READ_EVERYTHING = 2  # CAP_DAC_READ_SEARCH


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds` is of wall time; processor time ends a second later. `scratch_bytes` hold for a file and for the
    folder.
    """

    seconds: float = 5.0
    memory_bytes: int = 512 * _MIB
    scratch_bytes: int = 16 * _MIB
    open_files: int = 64
    processes: int = 256

    def apply(self, *, may_write: bool) -> None:
        """Set them for this process, so that it cannot raise them again. Raises OSError and ValueError."""
        processor_seconds = int(self.seconds) + 1
        of_kinds = {
            resource.RLIMIT_CPU: processor_seconds,
            resource.RLIMIT_FSIZE: self.scratch_bytes if may_write else 0,
            resource.RLIMIT_NOFILE: self.open_files,
            resource.RLIMIT_NPROC: self.processes,
            resource.RLIMIT_CORE: 0,
        }
        if sys.platform == "linux":  # macOS refuses a limit of the address space
            of_kinds |= {
                resource.RLIMIT_AS: self.memory_bytes,
                resource.RLIMIT_MEMLOCK: 0,
                resource.RLIMIT_MSGQUEUE: 0,
                resource.RLIMIT_SIGPENDING: self.open_files,
            }
        for kind, limit in of_kinds.items():
            hard = resource.getrlimit(kind)[1]
            allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (allowed, allowed))


@dataclass(frozen=True, slots=True)
class Isolation:
    """The layers that hold, and why each other one does not."""

    holds: tuple[str, ...]
    lacks: dict[str, str]

    @property
    def is_weak(self) -> bool:
        """Whether an answer could harm files of the service's user. Namespaces or landlock guard what is in them,
        seccomp all else.
        """
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
    """Enter namespaces, for the parent of the process that is to be isolated. Raises OSError."""
    namespaces.enter(readable_paths(), tempfile.gettempdir(), SCRATCH_INSIDE, scratch_bytes)


def restrict(layers: tuple[str, ...], limits: Limits) -> None:
    """Give up every right of this process that `layers` take, for good. Raises OSError.

    Only namespaces give it a folder to write to: without them nothing would bound what it writes.
    """
    is_private = NAMESPACES in layers
    os.chdir(SCRATCH_INSIDE if is_private else "/")
    limits.apply(may_write=is_private)
    give_up_rights(readable_paths())
    if LANDLOCK in layers:
        landlock.restrict([*readable_paths(), *_DEVICES], [SCRATCH_INSIDE] if is_private else [])
    if SECCOMP in layers:
        seccomp.load(may_write=is_private)


def _try(attempt: Callable[[], None]) -> str:
    """Return why it fails; empty where it does not."""
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


def give_up_rights(needed: Iterable[str]) -> None:
    """Root becomes nobody, and every capability is dropped, so that no file on the machine is this process's own.
    Raises OSError.

    Where some of Python's folders, `needed`, are private to root, nobody keeps the capability to read what others may
    not; landlock or namespaces say what that is. Root stays root, without capabilities, where it may not become another
    user or lacks that one: in a user namespace or a container. The other layers then hold it as they hold an ordinary
    user.
    """
    kept = 0
    if os.geteuid() == 0:
        is_private = sys.platform == "linux" and not all(map(_is_open_to_all, needed))
        kept = _kept_as_nobody(is_private=is_private)
    if sys.platform == "linux":
        kernel.drop_capabilities(kept)


def _kept_as_nobody(*, is_private: bool) -> int:
    """Become nobody, if that is possible; the set of capabilities to keep."""
    if is_private and not kernel.has_capability(_READ_EVERYTHING):
        return 0
    try:
        _become_nobody(with_capabilities=is_private)
    except OSError:
        return 0
    return 1 << _READ_EVERYTHING if is_private else 0


def _become_nobody(*, with_capabilities: bool) -> None:
    if with_capabilities:
        kernel.keep_capabilities()
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _is_open_to_all(folder: str) -> bool:
    """Tell whether every user may read it: root's own installation of Python is not."""
    return all(parent.stat().st_mode & 0o001 for parent in (Path(folder), *Path(folder).parents))
