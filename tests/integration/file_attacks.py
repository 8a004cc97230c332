"""Programs that try to change, read or add files of the service's user: each by one system call, in a folder of its
own.

What they did is seen in the folder afterwards, from outside: a program that says that it failed proves nothing.
"""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

NUMBERS = {
    "open": 2,
    "mmap": 9,
    "sendfile": 40,
    "truncate": 76,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "creat": 85,
    "link": 86,
    "unlink": 87,
    "symlink": 88,
    "chmod": 90,
    "fchmod": 91,
    "chown": 92,
    "fchown": 93,
    "lchown": 94,
    "utime": 132,
    "mknod": 133,
    "setxattr": 188,
    "lsetxattr": 189,
    "fsetxattr": 190,
    "removexattr": 197,
    "lremovexattr": 198,
    "fremovexattr": 199,
    "utimes": 235,
    "openat": 257,
    "mkdirat": 258,
    "mknodat": 259,
    "fchownat": 260,
    "futimesat": 261,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "symlinkat": 266,
    "fchmodat": 268,
    "utimensat": 280,
    "fallocate": 285,
    "renameat2": 316,
    "copy_file_range": 326,
    "openat2": 437,
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
    "ioctl": 16,
    "file_setattr": 469,
}
"""Of x86_64."""

ATTACKS = {
    "chmod": "call('chmod', FILE, 0o777)",
    "fchmod": "call('fchmod', opened(), 0o777)",
    "fchmodat": "call('fchmodat', HERE, FILE, 0o777)",
    "fchmodat2": "call('fchmodat2', HERE, FILE, 0o777, 0)",
    "chmod of the folder": "call('chmod', FOLDER, 0o700)",
    "utime": "call('utime', FILE, bytes(16))",
    "utimes": "call('utimes', FILE, bytes(32))",
    "futimesat": "call('futimesat', HERE, FILE, bytes(32))",
    "utimensat": "call('utimensat', HERE, FILE, bytes(32), 0)",
    "utimensat of a descriptor": "call('utimensat', opened(), None, bytes(32), 0)",
    "chown": "call('chown', FILE, os.getuid(), os.getgid())",
    "lchown": "call('lchown', FILE, os.getuid(), os.getgid())",
    "fchown": "call('fchown', opened(), os.getuid(), os.getgid())",
    "fchownat": "call('fchownat', HERE, FILE, os.getuid(), os.getgid(), 0)",
    "setxattr": "call('setxattr', FILE, b'user.new', b'x', 1, 0)",
    "lsetxattr": "call('lsetxattr', FILE, b'user.new', b'x', 1, 0)",
    "fsetxattr": "call('fsetxattr', opened(), b'user.new', b'x', 1, 0)",
    "setxattrat": "call('setxattrat', HERE, FILE, 0, b'user.new', struct.pack('QII', address(b'x'), 1, 0), 16)",
    "removexattr": "call('removexattr', FILE, b'user.old')",
    "lremovexattr": "call('lremovexattr', FILE, b'user.old')",
    "fremovexattr": "call('fremovexattr', opened(), b'user.old')",
    "removexattrat": "call('removexattrat', HERE, FILE, 0, b'user.old')",
    "ioctl that sets flags": "call('ioctl', opened(), 0x40086602, struct.pack('l', 0x80))",
    "link": "call('link', FILE, NEW)",
    "linkat": "call('linkat', HERE, FILE, HERE, NEW, 0)",
    "symlink": "call('symlink', b'/etc/passwd', NEW)",
    "symlinkat": "call('symlinkat', b'/etc/passwd', HERE, NEW)",
    "rename": "call('rename', FILE, NEW)",
    "renameat": "call('renameat', HERE, FILE, HERE, NEW)",
    "renameat2 that exchanges": "call('renameat2', HERE, FILE, HERE, OTHER, 2)",
    "unlink": "call('unlink', FILE)",
    "unlinkat": "call('unlinkat', HERE, FILE, 0)",
    "mkdir": "call('mkdir', NEW, 0o777)",
    "mkdirat": "call('mkdirat', HERE, NEW, 0o777)",
    "rmdir": "call('rmdir', EMPTY)",
    "rmdir by unlinkat": "call('unlinkat', HERE, EMPTY, 0x200)",
    "mknod": "call('mknod', NEW, 0o10666, 0)",
    "mknodat": "call('mknodat', HERE, NEW, 0o10666, 0)",
    "a bound socket": "import socket; socket.socket(socket.AF_UNIX).bind(NEW)",
    "open that appends": "os.write(os.open(FILE, os.O_WRONLY | os.O_APPEND), b'x')",
    "open by its old number": "os.write(call('open', FILE, os.O_RDWR), b'x')",
    "open to read that truncates": "call('open', FILE, os.O_RDONLY | os.O_TRUNC)",
    "open to write that truncates": "os.open(FILE, os.O_WRONLY | os.O_TRUNC)",
    "open that creates": "os.open(NEW, os.O_RDONLY | os.O_CREAT, 0o666)",
    "openat2": "os.write(call('openat2', HERE, FILE, struct.pack('QQQ', 1, 0, 0), 24), b'x')",
    "a file without a name, linked": "call('linkat', HERE, b'/proc/self/fd/%d' % os.open(FOLDER, os.O_TMPFILE | "
    "os.O_RDWR, 0o600), HERE, NEW, 0x400)",
    "creat": "call('creat', FILE, 0o600)",
    "truncate": "call('truncate', FILE, 1)",
    "ftruncate": "call('ftruncate', os.open(FILE, os.O_RDWR), 1)",
    "fallocate": "call('fallocate', os.open(FILE, os.O_RDWR), 0, 0, 9000)",
    "a shared mapping": "import mmap; mmap.mmap(os.open(FILE, os.O_RDWR), 0)[0:1] = b'x'",
    "sendfile": "call('sendfile', os.open(FILE, os.O_WRONLY), os.open(OTHER, os.O_RDONLY), None, 3)",
    "copy_file_range": "call('copy_file_range', os.open(OTHER, os.O_RDONLY), None, os.open(FILE, os.O_WRONLY), None, "
    "3, 0)",
    "shutil.rmtree": "import shutil; shutil.rmtree(FOLDER)",
}
"""Each is a statement; `attack` says what the names in them are."""

_PROGRAM = """
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
HERE = -100
NUMBERS, ROOT = {numbers!r}, {root!r}
def call(name, *words):
    return libc.syscall(NUMBERS[name], *(ctypes.c_long(word) if isinstance(word, int) else word for word in words))
def opened():
    return os.open(FILE, os.O_RDONLY)
kept = []
def address(text):
    kept.append(ctypes.create_string_buffer(text))
    return ctypes.addressof(kept[-1])
def f():
    global FILE, OTHER, NEW, EMPTY, FOLDER
    for number, statement in enumerate({statements!r}):
        FOLDER = os.path.join(ROOT, str(number)).encode()
        FILE, OTHER, NEW, EMPTY = (os.path.join(FOLDER, name) for name in (b"file", b"other", b"new", b"empty"))
        try:
            exec(statement, globals())
        except Exception:
            pass
    try:
        with open(os.path.join(ROOT, "secret")) as file:
            return file.read()
    except OSError:
        return ""
"""


@dataclass
class Victims:
    """Files of the user `owner`, one folder for each attack, and what they were like."""

    root: Path
    owner: int
    secret: str = field(default_factory=secrets.token_hex)

    def __post_init__(self) -> None:
        self.root.mkdir()
        (self.root / "secret").write_text(self.secret)
        for number in range(len(ATTACKS)):
            folder = self.root / str(number)
            (folder / "empty").mkdir(parents=True)
            for name in ("file", "other"):
                (folder / name).write_text(f"the {name} of the service's user")
            with suppress(OSError):  # a file system without them
                os.setxattr(folder / "file", "user.old", b"x")
        for path in (self.root, *self.root.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
            if os.geteuid() == 0:
                os.chown(path, self.owner, self.owner)
        self._before = [_state(folder) for folder in self._folders()]

    @property
    def program(self) -> str:
        """Its `f` tries every attack, and returns the secret if it can."""
        return _PROGRAM.format(numbers=NUMBERS, root=str(self.root), statements=list(ATTACKS.values()))

    def hit(self) -> set[str]:
        """The attacks that left a trace."""
        after = [_state(folder) for folder in self._folders()]
        return {name for name, old, new in zip(ATTACKS, self._before, after, strict=True) if old != new}

    def _folders(self) -> list[Path]:
        return [self.root / str(number) for number in range(len(ATTACKS))]


def _state(folder: Path) -> dict[str, tuple[object, ...]]:
    if not folder.exists():
        return {}
    return {str(path): _description(path) for path in (folder, *sorted(folder.rglob("*")))}


def _description(path: Path) -> tuple[object, ...]:
    """Everything but the time of the last reading."""
    found = path.lstat()
    content = path.read_bytes() if stat.S_ISREG(found.st_mode) else b""
    numbers = (
        found.st_mode,
        found.st_uid,
        found.st_gid,
        found.st_size,
        found.st_nlink,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )
    return (*numbers, content, *os.listxattr(path, follow_symlinks=False))
