"""The table of Redis's users: one for each process that uses Redis, with a password of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tandem.access.redis_users import USERS, RedisUsersError, acl_lines, passwords_in, user_of
from tandem.cli import app
from tandem.local.layout import OWN_PROCESSES


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


def test_the_command_prints_the_file_and_where_the_passwords_are(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    printed = CliRunner().invoke(app, ["redis", "users", "--passwords", str(folder)])
    assert printed.exit_code == 0, printed.output
    assert printed.output.splitlines() == acl_lines(passwords_in(folder), 7)
    found = json.loads(CliRunner().invoke(app, ["redis", "users", "--passwords", str(folder), "--json"]).output)
    assert found["password_files"]["tandem-worker"] == str(folder / "worker")
