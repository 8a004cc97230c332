"""The one table of what each process may do in Redis, as users of Redis's ACL. `make tables` writes them to
deploy/redis-users.acl, for an operator's own Redis; the local stack makes its own file.

A request's keys are `{ID}:insight`, `{ID}:state` and so on, an account's `{tenant:NAME}:account`, what outcomes say of
a policy `{tenant:NAME}:policy:PROFILE/TASK/PROMISE`. A script runs as its caller, so its commands are in the table too.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tandem.errors import UserError

# What redis-py needs to open a connection: as a client of one server, or of a cluster, whose slots and commands it asks
# for.
_CONNECTION = ("hello", "ping", "select", "client|setinfo", "client|setname", "command", "cluster|slots", "asking")
_SCRIPTS = ("evalsha", "script|load")
# `hincrby`: of the script before 112, for pods that an upgrade has not replaced yet.
_WRITER = (*_SCRIPTS, "hget", "hmget", "hset", "hdel", "hincrby", "xadd", "pexpire", "xrange", "xread")
_ACCOUNTS = (
    "hexists",
    "hgetall",
    "hkeys",
    "hget",
    "hset",
    "hdel",
    "hincrby",
    "zscore",
    "zadd",
    "zremrangebyscore",
    "pexpire",
)
# Without `xadd`: a gateway that had it could write the streams of requests, whose keys it may delete.
_OUTCOMES = ("rpush", "zadd", "zremrangebyscore", "hget", "hset", "hdel", "hexists", "hincrby", "pexpire")
_LEARNED = ("hgetall", "hkeys", "hget", "hmget", "hset", "hdel", "hincrby", "exists", "sadd", "sismember", "del")
_LISTS = ("rpush", "ltrim", "lrange", "zadd", "zrem", "zrangebyscore", "zremrangebyscore", "pexpire")
_REQUEST = ("insight", "answer", "stages", "passes", "bodies", "decisions", "state", "stops", "watchers")
_ACCOUNT_KEYS = tuple(f"{{tenant:*}}:{name}" for name in ("account", "minute", "settled"))
_OUTCOME_KEYS = tuple(f"{{tenant:*}}:{name}:*" for name in ("outcome", "policy", "changes", "kept", "session"))

_LEARNED_KEYS = (
    *(
        f"{{tenant:*}}:{name}:*"
        for name in ("learned", "learned-of", "learned-kinds", "learned-changes", "learned-seen")
    ),
    "{tenant:*}:disputes",
    "{tenant:*}:dispute:*",
)


class RedisUsersError(UserError):
    """A folder of passwords cannot be read or written."""


@dataclass(frozen=True, slots=True)
class RedisUser:
    """`process` names it. `reads` and `writes` are names of a request's keys; `keys` are other patterns, written and
    read.
    """

    process: str
    commands: tuple[str, ...]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"tandem-{self.process}"

    def rules(self, version: int) -> str:
        """Redis before 7 does not tell reading a key from writing it."""
        read = "%R~" if version >= 7 else "~"
        keys = [f"~{{*}}:{name}" for name in self.writes] + [f"{read}{{*}}:{name}" for name in self.reads]
        keys += [f"~{pattern}" for pattern in self.keys]
        commands = [f"+{command}" for command in sorted({*_CONNECTION, *self.commands})]
        return " ".join(["resetchannels", *keys, "-@all", *commands])


USERS = (
    RedisUser(
        "gateway",
        (
            "exists",
            "xread",
            "xrange",
            "hmget",
            "zadd",
            "zrem",
            "zcount",
            "pexpire",
            "del",
            "lrange",
            "zrangebyscore",
            *_SCRIPTS,
            *_ACCOUNTS,
            *_OUTCOMES,
            *_LEARNED,
            *_LISTS,
        ),
        writes=_REQUEST,  # a deletion's
        keys=(*_ACCOUNT_KEYS, *_OUTCOME_KEYS, *_LEARNED_KEYS),
    ),
    RedisUser(
        "worker",
        ("xread", "xrange", "xadd", "hmget", "zrem", "zcount", *_SCRIPTS, *_ACCOUNTS, *_OUTCOMES, *_LEARNED, *_LISTS),
        writes=_REQUEST,  # their time to live
        keys=(*_ACCOUNT_KEYS, *_OUTCOME_KEYS, *_LEARNED_KEYS),
    ),
    RedisUser("insight-generator", _WRITER, reads=("stops", "bodies"), writes=("insight", "stages", "state")),
    RedisUser(
        "slm-executor",
        (*_WRITER, "hgetall"),
        reads=("stops", "insight"),
        writes=("answer", "stages", "passes", "state"),
    ),
    RedisUser("sufficiency-scorer", ("xrange", "hset", "hgetall", "pexpire"), reads=("insight",), writes=("passes",)),
)
"""Every process that uses Redis; the others are told no address of it."""


def user_of(process: str) -> RedisUser:
    return next(user for user in USERS if user.process == process)


def acl_lines(passwords: Mapping[str, str], version: int) -> list[str]:
    """Lines of an ACL file, one for each user, with the SHA-256 of its password; `passwords` by process.

    The user without a name is switched off last: whoever has no password may do nothing.
    """
    digests = {process: hashlib.sha256(password.encode()).hexdigest() for process, password in passwords.items()}
    users = [f"user {user.name} on #{digests[user.process]} {user.rules(version)}" for user in USERS]
    return [*users, "user default off resetpass -@all"]


def passwords_in(folder: Path) -> dict[str, str]:
    """Return the password of each process, in a file of its name; one that is missing is made. Raises
    RedisUsersError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return {process: _password(folder / process) for process in [user.process for user in USERS]}
    except OSError as error:
        raise RedisUsersError(f"the passwords in {folder} cannot be read or written: {error}") from error


def _password(file: Path) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
    return file.read_text().strip()
