"""The backup of docs/operate.md, and its restore on a cluster that has nothing left of the release."""

from __future__ import annotations

import json
import os
import shutil
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem import Client, InsightDelta, to_dict
from tandem.v1 import tandem_pb2
from tests.e2e.k8s import servers
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.release import NAME, Release, eventually
from tests.e2e.k8s.secrets import secret

pytestmark = pytest.mark.timeout(1200)
DATABASE = "temporal.db"
KEYS = "payload-keys"
WORK = "[ms=200 slm_eos=60] {}"  # 48 tokens of insight, 60 of answer: some twenty seconds
ENDED = [f"ended-{number}" for number in range(5)]
RUNNING = [f"running-{number}" for number in range(5)]


@dataclass(frozen=True)
class Backup:
    """Temporal's database, the secrets, and the release's values."""

    database: Path
    secrets: list[dict[str, Any]]
    values: dict[str, Any]


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    release = Release(cluster, "restored", scripted=True)
    shutil.rmtree(release.journal, ignore_errors=True)
    release.prepare()
    yield release
    release.remove()


def install(release: Release, values: dict[str, Any]) -> None:
    servers.start_servers(release, database=f"/journal/{DATABASE}")
    release.upgrade("--install", values=values)
    release.wait_until_ready()


def results(release: Release, ids: list[str]) -> list[dict[str, Any]]:
    """Empty for what has not ended."""
    with Client(release.gateway) as client:
        return [to_dict(client.get(request_id).result) for request_id in ids]


def begin(client: Client, request_id: str) -> None:
    """Until the large model has written something; it runs on without a reader."""
    for event in client.solve(WORK.format(request_id), request_id=request_id, keep_running=True):
        if isinstance(event, InsightDelta):
            return


def back_up(release: Release, folder: Path) -> Backup:
    """As docs/operate.md says, with Temporal stopped while its database is copied."""
    servers.stop_server(release, "temporal")
    database = folder / DATABASE
    shutil.copy(release.journal / DATABASE, database)
    values = yaml.safe_load(release.cluster.helm("get", "values", NAME, "-n", release.namespace, "-o", "yaml"))
    data = release.get("secret", KEYS)["data"]
    return Backup(database, [{**secret(KEYS, release.namespace, {}), "data": data}], values)


def lose_everything(release: Release) -> None:
    release.remove(waits=True)
    shutil.rmtree(release.journal)


def restore(release: Release, backup: Backup) -> None:
    release.prepare()
    shutil.copy(backup.database, release.journal / DATABASE)
    (release.journal / DATABASE).chmod(0o666)
    release.cluster.apply(backup.secrets)
    install(release, backup.values)


def test_a_restored_release_has_every_result_and_goes_on_with_what_ran(release: Release, tmp_path: Path) -> None:
    keys = {"active": "now", "keys": {"now": b64encode(os.urandom(32)).decode()}}
    release.cluster.apply([secret(KEYS, release.namespace, {"payload-keys.json": json.dumps(keys).encode()})])
    sealed = {"payloadKeysSecret": KEYS}
    own = {**servers.VALUES, "temporal": {**servers.VALUES["temporal"], **sealed}, "auth": {"allowAnonymous": True}}
    install(release, own)
    with Client(release.gateway) as client:
        for request_id in ENDED:
            client.ask(f"[slm_eos=5] {request_id}", request_id=request_id)
        before = results(release, ENDED)
        for request_id in RUNNING:
            begin(client, request_id)
    backup = back_up(release, tmp_path)
    assert b"slm_eos" not in backup.database.read_bytes()
    lose_everything(release)
    restore(release, backup)
    assert results(release, ENDED) == before
    with Client(release.gateway) as client:
        running = lambda: [client.get(each).state for each in RUNNING]  # noqa: E731 - a condition
        eventually("their ends", lambda: tandem_pb2.REQUEST_STATE_RUNNING not in running(), 300)
        assert running() == [tandem_pb2.REQUEST_STATE_COMPLETED] * 5
        assert client.ask("[slm_eos=5] and now?").answer
    for result in results(release, RUNNING):
        assert result["answer"]
        assert result["cost"]["usd"] > 0
