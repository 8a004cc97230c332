"""seccomp: the system calls of a Python program without files of others, network and processes, and no other one.

None of them changes what the kernel keeps of a file besides its content: owner, rights, times and attributes of files
that others may see, which landlock does not guard. None locks a file, waits for a disk, or tells of another process. A
call that is not listed fails with EPERM, as it does for a program without the right to it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from dataclasses import dataclass

from services.answer_checker.sandbox import kernel

Numbers = tuple[int, int | None]
"""Of x86_64 and of aarch64, where it may be missing."""

ALWAYS: dict[str, Numbers] = {
    "read": (0, 63),
    "write": (1, 64),
    "readv": (19, 65),
    "writev": (20, 66),
    "pread64": (17, 67),
    "pwrite64": (18, 68),
    "close": (3, 57),
    "close_range": (436, 436),
    "fstat": (5, 80),
    "stat": (4, None),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137),
    "sigaltstack": (131, 132),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "select": (23, None),
    "pselect6": (270, 72),
    "poll": (7, None),
    "ppoll": (271, 73),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_wait": (232, None),
    "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "pause": (34, None),
    "nanosleep": (35, 101),
    "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getitimer": (36, 102),
    "setitimer": (38, 103),
    "alarm": (37, None),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getgroups": (115, 158),
    "getresuid": (118, 148),
    "getresgid": (120, 150),
    "getpgrp": (111, None),
    "uname": (63, 160),
    "ftruncate": (77, 46),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "umask": (95, 166),
    "statfs": (137, 43),
    "fstatfs": (138, 44),
    "getrusage": (98, 165),
    "sysinfo": (99, 179),
    "getrlimit": (97, 163),
    "setrlimit": (160, 164),
    "sched_yield": (24, 124),
    "getcpu": (309, 168),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "rseq": (334, 293),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "wait4": (61, 260),
    "getrandom": (318, 278),
    "restart_syscall": (219, 128),
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "shutdown": (48, 210),
    "getsockopt": (55, 209),
    "getsockname": (51, 204),
    "getpeername": (52, 205),
    "arch_prctl": (158, None),
}
WITH_A_FOLDER: dict[str, Numbers] = {
    "open": (2, None), "openat": (257, 56), "creat": (85, None), "truncate": (76, 45), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "unlink": (87, None), "unlinkat": (263, 35),
}  # fmt: skip
"""Only in namespaces, where the one folder that can be written to ends with the process."""

# What makes `open` more than a reading.
_CHANGES = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
_CLONE_THREAD = 0x10000
_CLONE_SEPARATE = 0x7E020000  # every CLONE_NEW...
_PR_SET_NAME = 15
_FCNTL = 0, 1, 2, 3, 4, 1030  # duplicate and flags, but no lock, no lease, and no owner: it could be sent a signal
_IOCTL = 0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
_CLONE3 = 435
_AUDIT_ARCH = 0xC000003E, 0xC00000B7
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
# Classic BPF: load a word of struct seccomp_data, and with a mask; jump if equal; return.
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_CALLS = 0x40000000


@dataclass(frozen=True, slots=True)
class Condition:
    """An argument's low 32 bits, masked, are one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is allowed only where every condition holds."""

    numbers: Numbers
    conditions: tuple[Condition, ...]


def conditional(pid: int, *, may_write: bool) -> list[Rule]:
    """Return the calls of process `pid` that depend on their arguments. Where it may not write, files are opened to
    read alone.
    """
    own = (0, pid)
    rules = [
        Rule(
            (56, 220), (Condition(0, (_CLONE_THREAD,), _CLONE_THREAD | _CLONE_SEPARATE),)
        ),  # clone: threads, no processes
        Rule((62, 129), (Condition(0, (pid,)),)),  # kill: itself
        Rule((234, 131), (Condition(0, (pid,)),)),  # tgkill
        Rule((302, 261), (Condition(0, own),)),  # prlimit64
        Rule((121, 155), (Condition(0, own),)),  # getpgid
        Rule((124, 156), (Condition(0, own),)),  # getsid
        Rule((204, 123), (Condition(0, own),)),  # sched_getaffinity
        Rule((157, 167), (Condition(0, (_PR_SET_NAME,)),)),  # prctl
        Rule((72, 25), (Condition(1, _FCNTL),)),
        Rule((16, 29), (Condition(1, _IOCTL),)),
        # socketpair: all sockets are connected streams, which cannot send elsewhere
        Rule((53, 199), (Condition(0, (socket.AF_UNIX,)), Condition(1, (socket.SOCK_STREAM,), 0xF))),
    ]
    if not may_write:
        rules.append(Rule((2, None), (Condition(1, (0,), _CHANGES),)))
        rules.append(Rule((257, 56), (Condition(2, (0,), _CHANGES),)))
    return rules


def load(*, may_write: bool) -> None:
    """Restrict this thread and all that it starts. Call it last. Raises OSError."""
    program = _program(os.getpid(), may_write=may_write)
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HL", len(program) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    kernel.forbid_new_privileges()
    kernel.libc("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0)


def _program(pid: int, *, may_write: bool) -> bytes:
    column = kernel.machine_index()
    code = [
        _op(_LOAD, _ARCH_AT),
        _op(_EQUAL, _AUDIT_ARCH[column], 1, 0),
        _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER_AT),
        _op(_AT_LEAST, _X32_CALLS, 0, 1),
        _op(_RETURN, _KILL),
        _op(_EQUAL, _CLONE3, 0, 1),
        _op(
            _RETURN, _REFUSE | errno.ENOSYS
        ),  # its flags are in memory, where no filter reads: libc falls back to clone
    ]
    listed = ALWAYS | (WITH_A_FOLDER if may_write else {})
    for numbers in listed.values():
        number = numbers[column]
        if number is not None:
            code += [_op(_EQUAL, number, 0, 1), _op(_RETURN, _ALLOW)]
    for rule in conditional(pid, may_write=may_write):
        code += _conditional(rule, rule.numbers[column])
    code.append(_op(_RETURN, _REFUSE | errno.EPERM))
    return b"".join(code)


def _conditional(rule: Rule, number: int | None) -> list[bytes]:
    if number is None:
        return []
    body = []
    for condition in rule.conditions:
        body += [_op(_LOAD, _ARGUMENTS_AT + 8 * condition.argument), _op(_AND, condition.mask)]
        left = len(condition.values)
        body += [_op(_EQUAL, value, left - index, 0) for index, value in enumerate(condition.values)]
        body.append(_op(_RETURN, _REFUSE | errno.EPERM))
    body.append(_op(_RETURN, _ALLOW))
    return [_op(_EQUAL, number, 0, len(body)), *body]


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
