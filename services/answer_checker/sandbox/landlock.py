"""landlock: which folders a process may read or write, no TCP, and no signals or local sockets to anybody outside.

Each version of the kernel's interface guards more; seccomp holds what an older one leaves open.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import suppress

from services.answer_checker.sandbox import kernel

_VERSION_FLAG = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REGULAR, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REGULAR | _TRUNCATE
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
# What each version of the interface handles first: file access, TCP, scopes.
_FILE_RIGHTS = {
    1: (1 << 13) - 1,
    2: _REFER,
    3: _TRUNCATE,
    5: 1 << 15,
    9: 1 << 16,
}  # ioctl of devices; sockets by a path
_TCP, _TCP_SINCE = 0b11, 4
_SCOPES, _SCOPES_SINCE = 0b11, 6
_NO_AUDIT, _NO_AUDIT_SINCE = 1, 7  # an answer that is refused a million times must not fill the machine's audit log


def version() -> int:
    """Version of the kernel's interface. Raises OSError where it has none."""
    return kernel.syscall("landlock_create_ruleset", None, 0, _VERSION_FLAG)


def restrict(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Restrict this thread and all that it starts. Paths that do not exist are left out. Raises OSError."""
    abi = version()
    handled = sum(rights for since, rights in _FILE_RIGHTS.items() if since <= abi)
    attributes = struct.pack("QQQ", handled, _TCP if abi >= _TCP_SINCE else 0, _SCOPES if abi >= _SCOPES_SINCE else 0)
    ruleset = kernel.syscall("landlock_create_ruleset", attributes, len(attributes) if abi >= _SCOPES_SINCE else 16, 0)
    try:
        for paths, rights in ((readable, _READ), (writable, _WRITE)):
            for path in paths:
                with suppress(FileNotFoundError):
                    _allow(ruleset, path, rights & handled)
        kernel.forbid_new_privileges()
        kernel.syscall("landlock_restrict_self", ruleset, _NO_AUDIT if abi >= _NO_AUDIT_SINCE else 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not os.path.isdir(path):
            rights &= _OF_A_FILE
        kernel.syscall("landlock_add_rule", ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)
