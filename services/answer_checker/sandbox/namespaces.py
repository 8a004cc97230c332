"""Namespaces: no network, no processes of others, and a root file system that holds Python and a small scratch
folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from services.answer_checker.sandbox import kernel

_NEW_MOUNTS, _NEW_UTS, _NEW_IPC, _NEW_USER, _NEW_PID, _NEW_NET = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_ALL = _NEW_MOUNTS | _NEW_UTS | _NEW_IPC | _NEW_PID | _NEW_NET
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_KEPT_FLAGS = _READ_ONLY | _NO_SETUID | _NO_DEVICES | 8 | 1024 | 2048  # a user namespace may not remove the source's
_DETACH = 2
_DEVICES = "/dev/null", "/dev/zero", "/dev/urandom"
_BYTES_OF_A_FILE = 1 << 12  # what the kernel keeps of a file, empty ones too, is memory that no other limit counts


def enter(readable: Sequence[str], mount_point: str, scratch: str, scratch_bytes: int) -> None:
    """Put this process into new namespaces, and its next child into a new process namespace. Raises OSError.

    The root becomes an empty file system with `readable`, read only, and in it the folder `scratch`, in memory of
    `scratch_bytes`.
    `mount_point` is any folder.
    """
    user, group = os.geteuid(), os.getegid()
    os.umask(0o022)  # where others may not read this user's files, the root's folders must be readable all the same
    try:
        kernel.libc("unshare", _ALL)
    except PermissionError:
        kernel.libc("unshare", _ALL | _NEW_USER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    # opened before the new root covers what lies below its mount point; devices take what is written, but no change of
    # their rights
    kept = [(path, os.open(path, os.O_PATH), _READ_ONLY | _NO_SETUID | _NO_DEVICES) for path in readable]
    kept += [(path, os.open(path, os.O_PATH), _READ_ONLY | _NO_SETUID) for path in _DEVICES]
    _mount("tmpfs", mount_point, "tmpfs", _NO_SETUID, "size=1m,mode=755")
    for path, source, flags in kept:
        _bind(path, source, mount_point, flags)
        os.close(source)
    os.mkdir(mount_point + scratch)
    size = f"size={scratch_bytes},nr_inodes={scratch_bytes // _BYTES_OF_A_FILE},mode=777"
    _mount("tmpfs", mount_point + scratch, "tmpfs", _NO_SETUID | _NO_DEVICES, size)
    _mount(None, mount_point, None, _REMOUNT | _BIND | _READ_ONLY | _NO_SETUID)
    os.chdir(mount_point)
    kernel.syscall("pivot_root", b".", b".")
    kernel.libc("umount2", b".", _DETACH)
    os.chdir("/")


def _bind(path: str, source: int, root: str, flags: int) -> None:
    target = Path(root + path)
    with suppress(FileExistsError):  # a folder inside one that is already there
        if stat.S_ISDIR(os.fstat(source).st_mode):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(exist_ok=False)
        _mount(f"/proc/self/fd/{source}", str(target), None, _BIND | _RECURSIVE)
        kept = os.statvfs(target).f_flag & _KEPT_FLAGS
        _mount(None, str(target), None, _REMOUNT | _BIND | flags | kept)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    kernel.libc("mount", _bytes(source), target.encode(), _bytes(kind), flags, options.encode() or None)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
