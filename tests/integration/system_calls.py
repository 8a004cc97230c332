"""System calls of x86_64 that no answer may make, and those that it may make with some arguments only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.integration.file_attacks import NUMBERS

_OPENING = {
    "open",
    "openat",
    "creat",
    "truncate",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "rmdir",
    "unlink",
    "unlinkat",
}
_BY_ARGUMENT = {"mmap", "ftruncate", "ioctl"}
HARMFUL = {
    **{name: number for name, number in NUMBERS.items() if name not in _OPENING | _BY_ARGUMENT},
    # other processes
    "fork": 57, "vfork": 58, "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
    "kcmp": 312, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "pidfd_open": 434, "pidfd_getfd": 438,
    "pidfd_send_signal": 424, "process_madvise": 440, "process_mrelease": 448, "setpriority": 141, "getpriority": 140,
    "ioprio_set": 251, "ioprio_get": 252, "sched_setaffinity": 203, "sched_setscheduler": 144, "sched_setparam": 142,
    "sched_setattr": 314, "sched_getattr": 315, "migrate_pages": 256, "move_pages": 279, "get_robust_list": 274, "setpgid": 109,
    "setsid": 112, "waitid": 247,
    # what processes share
    "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66, "msgget": 68, "msgsnd": 69, "msgrcv": 70,
    "msgctl": 71, "mq_open": 240, "mq_unlink": 241, "mq_timedsend": 242, "add_key": 248, "request_key": 249, "keyctl": 250,
    "flock": 73, "memfd_create": 319, "memfd_secret": 447, "inotify_init": 253, "inotify_init1": 294, "inotify_add_watch": 254,
    "fanotify_init": 300, "fanotify_mark": 301, "membarrier": 324, "sync": 162, "syncfs": 306, "fsync": 74, "fdatasync": 75,
    # the network
    "socket": 41, "connect": 42, "accept": 43, "bind": 49, "listen": 50, "sendmsg": 46, "recvmsg": 47, "sendmmsg": 307,
    "recvmmsg": 299, "setsockopt": 54,
    # doors to the kernel
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
    "seccomp": 317, "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320,
    "iopl": 172, "ioperm": 173, "modify_ldt": 154, "personality": 135, "syslog": 103, "acct": 163, "swapon": 167, "swapoff": 168,
    "reboot": 169, "quotactl": 179, "quotactl_fd": 443, "vmsplice": 278, "splice": 275, "tee": 276, "io_setup": 206, "io_submit": 209,
    "timer_create": 222, "timerfd_create": 283, "signalfd": 282, "signalfd4": 289, "settimeofday": 164, "clock_settime": 227,
    "clock_adjtime": 305, "adjtimex": 159, "mbind": 237, "set_mempolicy": 238, "mlock": 149, "mlockall": 151, "mlock2": 325,
    "pkey_alloc": 330, "cachestat": 451, "remap_file_pages": 216, "lookup_dcookie": 212, "map_shadow_stack": 453,
    # namespaces, mounts, users
    "unshare": 272, "setns": 308, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "fspick": 433, "open_tree": 428, "move_mount": 429, "mount_setattr": 442, "open_tree_attr": 467, "statmount": 457,
    "listmount": 458, "name_to_handle_at": 303, "open_by_handle_at": 304, "sethostname": 170, "setdomainname": 171, "setuid": 105,
    "setgid": 106, "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119, "setfsuid": 122,
    "setfsgid": 123, "capget": 125, "capset": 126, "landlock_create_ruleset": 444,
}  # fmt: skip

WITH_ARGUMENTS = {
    "kill of another": "libc.kill(PARENT, 0)",
    "kill of all": "libc.kill(-1, 0)",
    "kill of the group": "libc.kill(0, 0)",
    "prlimit of another": "libc.prlimit(PARENT, 7, None, ctypes.create_string_buffer(16))",
    "getpgid of another": "libc.getpgid(PARENT)",
    "getsid of another": "libc.getsid(PARENT)",
    "affinity of another": "libc.sched_getaffinity(PARENT, 128, ctypes.create_string_buffer(128))",
    "a new process": "ended() if (pid := libc.syscall(56, 17, 0, 0, 0, 0)) == 0 else pid",
    "a new process by clone3": "ended() if (pid := libc.syscall(435, struct.pack('8Q', 0, 0, 0, 0, 17, 0, 0, 0), 64)) == 0 else pid",
    "a lock of a file": "libc.fcntl(opened(), 6, struct.pack('hhqqi', 0, 0, 0, 0, 0))",
    "a lock of an open file": "libc.fcntl(opened(), 37, struct.pack('hhqqi', 0, 0, 0, 0, 0))",
    "a lease of a file": "libc.fcntl(opened(), 1024, 0)",
    "an owner of a descriptor": "libc.fcntl(opened(), 8, PARENT)",
    "a larger pipe": "libc.fcntl(os.pipe()[0], 1031, 1 << 20)",
    "dumpable": "libc.prctl(4, 1, 0, 0, 0)",
    "a name of the parent's death": "libc.prctl(1, 9, 0, 0, 0)",
    "a datagram pair": "libc.socketpair(1, 2, 0, ctypes.create_string_buffer(8))",
    "a packet pair": "libc.socketpair(1, 5, 0, ctypes.create_string_buffer(8))",
    "a pair of another family": "0 if libc.socketpair(30, 1, 0, ctypes.create_string_buffer(8)) == 0 or ctypes.get_errno() != 1 else -1",
    "a character for a terminal": "0 if libc.ioctl(0, 0x5412, b'x') == 0 or ctypes.get_errno() != 1 else -1",
    "more memory": "libc.setrlimit(9, struct.pack('QQ', 1 << 40, 1 << 40))",
}
OF_OTHERS = {
    "kill of another", "kill of all", "kill of the group", "prlimit of another", "getpgid of another", "getsid of another", "affinity of another",
    "a new process", "a new process by clone3", "a lock of a file", "a lock of an open file", "an owner of a descriptor", "dumpable",
    "a datagram pair", "a packet pair", "a pair of another family", "a character for a terminal", "a name of the parent's death",
}  # fmt: skip
"""Those that are answered where nothing but limits holds an answer."""

_START = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
PARENT = os.getppid() or 2
def opened():
    return os.open(os.__file__, os.O_RDONLY)
def ended():
    os._exit(0)
"""


def refused(numbers: Iterable[int]) -> str:
    """A program whose `f` returns those of these system calls that are not refused for the lack of a right."""
    return (
        _START
        + f"""
def f():
    found = []
    for number in {list(numbers)!r}:
        libc.syscall(number, -1, -1, -1, -1, -1, -1)
        if ctypes.get_errno() not in ((1, 38) if number == 435 else (1,)):
            found.append(number)
    return found
"""
    )


def accepted(calls: Mapping[str, str]) -> str:
    """A program whose `f` returns the names of those calls that did not fail."""
    return (
        _START
        + f"""
def f():
    found = []
    for name, call in sorted({dict(calls)!r}.items()):
        try:
            if eval(call) != -1:
                found.append(name)
        except Exception:
            pass
    return found
"""
    )
