"""What a process in the sandbox may use."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds` is of wall time; processor time ends a second later. `scratch_bytes` hold for a file and for the folder."""

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
