"""What each user may do in Redis: docs/redis.md has the keys of tandem/access/redis_users.py, and a real server
keeps to them and to the commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from tandem.access.redis_users import USERS, RedisUser, acl_lines, passwords_in
from tests.integration.redis.servers import call, run_server_with_users
from tests.tables import assert_table

# Each command that some process needs, as it is sent for a key.
READING = {
    "exists": "EXISTS {key}",
    "xread": "XREAD STREAMS {key} 0",
    "xrange": "XRANGE {key} - +",
    "hget": "HGET {key} a",
    "hmget": "HMGET {key} a",
    "hgetall": "HGETALL {key}",
    "hkeys": "HKEYS {key}",
    "hexists": "HEXISTS {key} a",
    "lrange": "LRANGE {key} 0 1",
    "sismember": "SISMEMBER {key} a",
    "zcount": "ZCOUNT {key} 0 1",
    "zrangebyscore": "ZRANGEBYSCORE {key} 0 1",
    "zscore": "ZSCORE {key} a",
}
WRITING = {
    "del": "DEL {key}",
    "pexpire": "PEXPIRE {key} 60000",
    "xadd": "XADD {key} * a b",
    "hset": "HSET {key} a 1",
    "hdel": "HDEL {key} a",
    "hincrby": "HINCRBY {key} a 1",
    "zadd": "ZADD {key} 1 a",
    "zrem": "ZREM {key} a",
    "rpush": "RPUSH {key} a",
    "ltrim": "LTRIM {key} 0 -1",
    "sadd": "SADD {key} a",
    "zremrangebyscore": "ZREMRANGEBYSCORE {key} 0 1",
}
SCRIPTS = {"evalsha", "script|load"}
"""A script runs with its caller's commands and keys, so these open nothing more."""
KEYS = sorted({f"{{ID}}:{name}" for user in USERS for name in (*user.reads, *user.writes)})
ACCOUNTS = sorted({pattern.replace("*", "TENANT") for user in USERS for pattern in user.keys})
OTHERS = ("{ID}:anything", "{tenant:TENANT}:anything", "anything")


def may(user: RedisUser, key: str) -> str:
    """What the table says of a key: `write` is reading and writing."""
    name = key.rpartition(":")[2]
    if key in KEYS:
        return "write" if name in user.writes else "read" if name in user.reads else ""
    return "write" if key in {pattern.replace("*", "TENANT") for pattern in user.keys} else ""


def test_the_page_has_the_keys_that_each_user_reaches() -> None:
    rows = [[f"`{key}`", *(may(user, key) or "no" for user in USERS)] for key in (*KEYS, *ACCOUNTS, *OTHERS)]
    assert_table("redis.md", "keys of each user", ["key", *(f"`{user.name}`" for user in USERS)], rows)


def test_every_command_of_a_user_is_tried() -> None:
    assert {command for user in USERS for command in user.commands} == {*READING, *WRITING, *SCRIPTS}


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return passwords_in(tmp_path_factory.mktemp("tables") / "passwords")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, passwords: dict[str, str]) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("server")
    with run_server_with_users(folder, lambda version: acl_lines(passwords, version)) as port:
        yield port


@pytest.mark.parametrize("user", USERS, ids=lambda user: user.name)
def test_the_server_lets_a_user_do_what_the_tables_say_and_nothing_else(
    port: int, passwords: dict[str, str], user: RedisUser
) -> None:
    tells_apart = _version(port) >= 7  # before, reading a key is not told from writing it
    with Redis(port=port, username=user.name, password=passwords[user.process]) as redis:
        for (command, words), key in product((READING | WRITING).items(), (*KEYS, *ACCOUNTS, *OTHERS)):
            needed = {"write"} if tells_apart and command in WRITING else {"write", "read"}
            expected = command in user.commands and may(user, key) in needed
            assert _passes(redis, words.format(key=_real(key))) == expected, (command, key)


def _passes(redis: Redis, command: str) -> bool:
    try:
        redis.execute_command(*command.split())
    except NoPermissionError:
        return False
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):  # the key may hold another kind of value
            raise
    return True


def _real(key: str) -> str:
    return key.replace("ID", "x").replace("TENANT", "acme")


def _version(port: int) -> int:
    found = call(port, "INFO", "server", username="tester", password="tester")["redis_version"]
    return int(found.partition(".")[0])
