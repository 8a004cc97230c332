"""Calls to the kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

MACHINES = "x86_64", "aarch64"
"""Machines whose system calls this package knows, in the order of the tables of numbers."""
_NUMBERS = {
    "capset": (126, 91),
    "pivot_root": (155, 41),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
}
_PR_SET_KEEPCAPS, _PR_CAPBSET_READ, _PR_SET_NO_NEW_PRIVS = 8, 23, 38
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def machine_index() -> int:
    """Return the column of this machine in a table of system calls. Raises OSError where there is none."""
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        raise OSError(f"no table of system calls for {sys.platform} on {platform.machine()}")
    return MACHINES.index(platform.machine())


def libc(function: str, *arguments: int | bytes | None) -> int:
    """Call a function of libc. Raises OSError where it answers -1, and where libc lacks it."""
    try:
        result = int(getattr(_libc, function)(*map(_as_c, arguments)))
    except AttributeError:
        raise OSError(f"libc has no {function}") from None
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return result


def syscall(name: str, *arguments: int | bytes | None) -> int:
    """Make a system call that libc has no function for. Raises OSError."""
    try:
        return libc("syscall", _NUMBERS[name][machine_index()], *arguments)
    except OSError as error:
        raise OSError(error.errno, f"{name}: {error.strerror or error}") from None


def forbid_new_privileges() -> None:
    """Neither this process nor its children gain privileges by executing a file."""
    libc("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def has_capability(number: int) -> bool:
    """Tell whether root has it in this container."""
    return libc("prctl", _PR_CAPBSET_READ, number, 0, 0, 0) == 1


def keep_capabilities() -> None:
    """They stay permitted when root becomes another user."""
    libc("prctl", _PR_SET_KEEPCAPS, 1, 0, 0, 0)


def drop_capabilities(kept: int = 0) -> None:
    """Give up every capability, those of a user namespace's creator too, but the set `kept`. Raises OSError where it
    lacks one of these.
    """
    header = _CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
    syscall(
        "capset", header, struct.pack("6I", kept, kept, 0, 0, 0, 0)
    )  # effective, permitted, inheritable; then the upper halves


def _as_c(value: int | bytes | None) -> ctypes.c_long | bytes | None:
    return ctypes.c_long(value) if isinstance(value, int) else value
