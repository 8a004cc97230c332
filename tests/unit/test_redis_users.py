"""The table of Redis's users: one for each process that uses Redis, with a password of its own."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest

from tandem.access.redis_users import USERS, RedisUsersError, acl_lines, passwords_in, user_of
from tandem.local.layout import OWN_PROCESSES
from tandem.paths import REPOSITORY
from tests.tables import assert_file

FILE = REPOSITORY / "deploy" / "redis-users.acl"


def test_each_process_that_uses_redis_has_a_user_and_no_other() -> None:
    strangers = {process.name for process in OWN_PROCESSES if process.isolated or process.speaks_http}
    assert {user.process for user in USERS} == {process.name for process in OWN_PROCESSES} - strangers


def test_passwords_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    first = passwords_in(tmp_path / "p")
    assert passwords_in(tmp_path / "p") == first
    assert len(set(first.values())) == len(USERS)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "p").iterdir()} == {0o600}
    lines = "\n".join(acl_lines(first, 7))
    assert not [password for password in first.values() if password in lines]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RedisUsersError, match="file"):
        passwords_in(file)


def test_redis_from_7_on_tells_reading_from_writing() -> None:
    scorer = user_of("sufficiency-scorer")
    assert "%R~{*}:insight" in scorer.rules(7)
    assert "%R" not in scorer.rules(6)
    assert "~{*}:insight" in scorer.rules(6)


def test_no_user_may_run_all_commands_or_touch_all_keys() -> None:
    for user in USERS:
        words = user.rules(7).split()
        assert not {"+@all", "~*", "&*", "allkeys", "allcommands", "+eval", "+keys", "+flushall", "+config"} & set(
            words
        )
        assert words[0] == "resetchannels"


def test_the_file_for_an_operators_redis_has_the_users_of_the_table() -> None:
    """Each digest is a word that no Redis takes, until an operator replaces it."""
    passwords = {user.process: f"password of {user.process}" for user in USERS}
    text = "\n".join([*acl_lines(passwords, 7), ""])
    for process, password in passwords.items():
        text = text.replace(digest(password), f"SHA256-OF-{process}")
    assert_file(FILE, text)


def test_the_commands_of_the_page_fill_the_file_in(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "redis.md").read_text()
    [script] = re.findall(r"^```sh\n(umask .*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "deploy").symlink_to(REPOSITORY / "deploy")
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, check=True)
    passwords = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert passwords.keys() == {user.process for user in USERS}
    assert {len(password) for password in passwords.values()} == {64}
    assert len(set(passwords.values())) == len(USERS)
    assert {file.stat().st_mode & 0o077 for file in (tmp_path / "secrets").iterdir()} == {0}
    assert (tmp_path / "users.acl").read_text().splitlines() == acl_lines(passwords, 7)


def test_the_file_without_its_r_is_for_redis_6() -> None:
    passwords = {user.process: user.process for user in USERS}
    assert [line.replace("%R~", "~") for line in acl_lines(passwords, 7)] == acl_lines(passwords, 6)


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
