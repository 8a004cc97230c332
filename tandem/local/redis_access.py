"""Who may use the Redis of a stack with TLS: each process as a user of its own, by a password made for this run.

Redis itself stays without TLS on loopback. The passwords lie beside the certificates, and go with them.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tandem.local.layout import StackError
from tandem.redis_users import USERS, acl_lines, passwords_in, user_of

_VERSION = re.compile(r"\bv=(\d+)")
_USERS = frozenset(user.process for user in USERS)
_SECONDS = 10.0


def acl_file(folder: Path) -> Path:
    """In the folder of the certificates."""
    return folder / "redis.acl"


def write_access(folder: Path, redis_server: Path) -> None:
    """New passwords and Redis's file of users, for this user alone. Raises StackError."""
    lines = acl_lines(passwords_in(_passwords(folder)), _major_version(redis_server))
    file = acl_file(folder)
    file.touch(mode=0o600)
    file.write_text("\n".join(lines) + "\n")


def access_environment(folder: Path, process: str) -> dict[str, str]:
    """What tells `process` its user and password; empty for one that does not use Redis."""
    if process not in _USERS:
        return {}
    return {
        "REDIS_USERNAME": user_of(process).name,
        "REDIS_PASSWORD": "",
        "REDIS_PASSWORD_FILE": str(_passwords(folder) / process),
    }


def _passwords(folder: Path) -> Path:
    return folder / "redis-passwords"


def _major_version(redis_server: Path) -> int:
    try:
        said = subprocess.run([str(redis_server), "--version"], capture_output=True, text=True, timeout=_SECONDS).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{redis_server} does not say its version: {error}") from error
    if (found := _VERSION.search(said)) is None:
        raise StackError(f"{redis_server} says no version: {said!r}")
    return int(found[1])
