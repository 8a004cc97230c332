"""API keys: made once, found by what their owner sends, and gone when they are revoked."""

from __future__ import annotations

import json
import re
import shlex
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.shared.identity.authentication import ApiKeys
from services.shared.identity.caller import Caller
from tandem.access.keys import KeyFile, KeyFileError, find_key
from tandem.cli import app
from tandem.paths import REPOSITORY


@pytest.fixture
def key_file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "some" / "keys.json")


def test_the_file_has_no_secret_and_is_its_owners_alone(key_file: KeyFile) -> None:
    key, credential = key_file.create("acme")
    text = key_file.path.read_text()
    assert credential.split("_", 2)[2] not in text
    assert key.sha256 in text
    assert stat.S_IMODE(key_file.path.stat().st_mode) == 0o600


def test_a_key_is_found_by_its_credential_alone(key_file: KeyFile) -> None:
    acme, credential = key_file.create("acme")
    _, other = key_file.create("other")
    keys = key_file.read()
    assert find_key(keys, credential) == acme
    secret = other.split("_", 2)[2]
    for wrong in (
        "",
        "tandem",
        acme.id,
        f"tandem_{acme.id}_",
        f"tandem_{acme.id}_{secret}",
        credential + "x",
        credential[6:],
    ):
        assert find_key(keys, wrong) is None, wrong


def test_a_revoked_key_is_refused_by_a_gateway_that_runs(key_file: KeyFile) -> None:
    key, credential = key_file.create("acme")
    api_keys = ApiKeys(key_file.path)
    assert api_keys.caller(credential) == Caller("acme")
    key_file.revoke(key.id)
    assert api_keys.caller(credential) is None
    _, admin = key_file.create("ops", ["admin"])
    assert api_keys.caller(admin) == Caller("ops", frozenset({"admin"}))


def test_a_file_that_breaks_while_a_gateway_runs_keeps_the_keys_there_were(key_file: KeyFile) -> None:
    _, credential = key_file.create("acme")
    api_keys = ApiKeys(key_file.path)
    key_file.path.write_text("{")
    assert api_keys.caller(credential) == Caller("acme")


def test_keys_that_are_made_at_once_are_all_kept(key_file: KeyFile) -> None:
    threads = [threading.Thread(target=key_file.create, args=(f"tenant-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {key.tenant for key in key_file.read()} == {f"tenant-{n}" for n in range(8)}


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"keys": [{}]}', '{"keys": [{"id": "a", "tenant": "b", "roles": 1, "sha256": "", "created_at": ""}]}'],
)
def test_a_file_of_something_else_is_named(key_file: KeyFile, text: str) -> None:
    key_file.path.parent.mkdir()
    key_file.path.write_text(text)
    with pytest.raises(KeyFileError, match=r"keys\.json is no file of `tandem keys`"):
        key_file.read()


@pytest.mark.parametrize("tenant", ["", "a/b", "a b", "x" * 65])
def test_a_tenant_that_no_id_can_begin_with_is_refused(key_file: KeyFile, tenant: str) -> None:
    with pytest.raises(KeyFileError, match="a tenant has 1 to 64"):
        key_file.create(tenant)


def test_the_command_line_makes_lists_and_revokes(tmp_path: Path) -> None:
    file = str(tmp_path / "keys.json")
    run = CliRunner().invoke
    made = json.loads(run(app, ["keys", "create", "acme", "--role", "admin", "--file", file, "--json"]).stdout)
    assert find_key(KeyFile(Path(file)).read(), made["api_key"]) is not None
    listed = json.loads(run(app, ["keys", "list", "--file", file, "--json"]).stdout)
    assert [(key["id"], key["tenant"], key["roles"]) for key in listed] == [(made["id"], "acme", ["admin"])]
    assert run(app, ["keys", "revoke", made["id"], "--file", file]).exit_code == 0
    assert json.loads(run(app, ["keys", "list", "--file", file, "--json"]).stdout) == []
    assert "has no key" in str(run(app, ["keys", "revoke", made["id"], "--file", file]).exception)


def test_a_revoked_key_is_shown_as_json(tmp_path: Path) -> None:
    file = ["--file", str(tmp_path / "keys.json")]
    created = json.loads(CliRunner().invoke(app, ["keys", "create", "acme", "--json", *file]).output)
    revoked = json.loads(CliRunner().invoke(app, ["keys", "revoke", created["id"], "--json", *file]).output)
    assert (revoked["id"], revoked["tenant"]) == (created["id"], "acme")


def test_the_recipe_that_makes_a_key_in_an_image_prints_the_file_and_tells_the_key_apart(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "kubernetes.md").read_text()
    [words] = re.findall(r"-- sh -c \\\n  '([^']+)' < keys.json", page)
    tandem = shlex.quote(str(Path(sys.executable).parent / "tandem"))
    command = words.replace("/tmp/", shlex.quote(f"{tmp_path}/")).replace("tandem keys", f"{tandem} keys")
    done = subprocess.run(["sh", "-c", command], input='{"keys": []}', capture_output=True, text=True, check=True)
    [key] = json.loads(done.stdout)["keys"]
    assert key["tenant"] == "my-team"
    assert find_key(KeyFile(tmp_path / "keys.json").read(), done.stderr.splitlines()[0]) is not None
