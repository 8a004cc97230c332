"""What goes wrong at an operator's hands: a key is revoked, an image or a profile is bad, a quota is used up, Temporal
is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tandem import Client, RequestError
from tandem.access.keys import KeyFile
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.load import under_load
from tests.e2e.k8s.release import Release, eventually
from tests.e2e.k8s.secrets import secret
from tests.e2e.k8s.values import scripted_profile

pytestmark = pytest.mark.timeout(1200)


class Keys:
    """The release's file of keys, as a secret. `kept` is a tenant's key that stays."""

    def __init__(self, release: Release, folder: Path) -> None:
        self._release, self._file = release, KeyFile(folder / "keys.json")
        _, self.kept = self._file.create("acme")

    def create(self) -> tuple[str, str]:
        """Id and text of another key."""
        found, text = self._file.create("other")
        return found.id, text

    def revoke(self, key_id: str) -> None:
        self._file.revoke(key_id)

    def put(self) -> None:
        files = {"keys.json": self._file.path.read_bytes()}
        self._release.cluster.apply([secret("tandem-keys", self._release.namespace, files)])


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    release = Release(cluster, "mishaps", scripted=True)
    release.prepare()
    yield release
    release.remove()


@pytest.fixture(scope="module")
def keys(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Keys:
    keys = Keys(release, tmp_path_factory.mktemp("keys"))
    keys.put()
    release.upgrade("--install", values=values())
    release.wait_until_ready()
    return keys


def values(**more: Any) -> dict[str, Any]:
    return {"auth": {"existingSecret": "tandem-keys"}, **more}


def refusal(release: Release, key: str) -> str:
    """What a question is refused with; empty if it is answered."""
    try:
        with Client(release.gateway, key) as client:
            client.ask("[slm_eos=5] may I?")
    except RequestError as error:
        return str(error)
    return ""


async def outcomes(release: Release, key: str, happen: Callable[[], Awaitable[None]]) -> list[str]:
    """Of five requests that run while `happen` does: empty where there is an answer, else the error."""
    return [each["error"] for each in await under_load(release, 5, happen, key=key)]


async def upgraded_for(release: Release, seconds: float, **bad: Any) -> None:
    """An upgrade that cannot succeed, and after a while the way back that the runbook names."""
    await asyncio.to_thread(release.upgrade, values=values(**bad), waits=False)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(release.roll_back)


async def test_a_revoked_key_is_refused_within_a_minute_and_no_other(release: Release, keys: Keys) -> None:
    key_id, text = keys.create()
    keys.put()
    await asyncio.to_thread(eventually, "the new key", lambda: not refusal(release, text), 120)

    async def revoke() -> None:
        keys.revoke(key_id)
        keys.put()
        refused = lambda: "no longer" in refusal(release, text)  # noqa: E731 - a condition
        await asyncio.to_thread(eventually, "the refusal", refused, 120)

    assert await outcomes(release, keys.kept, revoke) == [""] * 5


async def test_a_bad_image_tag_costs_no_answer_before_the_rollback(release: Release, keys: Keys) -> None:
    async def change() -> None:
        await upgraded_for(release, 20, image={"tag": "no-such-tag"})

    assert await outcomes(release, keys.kept, change) == [""] * 5
    release.wait_until_ready()
    assert refusal(release, keys.kept) == ""


async def test_with_a_bad_profile_the_old_gateways_go_on(release: Release, keys: Keys) -> None:
    bad = scripted_profile(handoff='"by-mail"')

    async def change() -> None:
        changed = values(profile={"name": "scripted", "files": {"profile.toml": bad}})
        await asyncio.to_thread(release.upgrade, values=changed, waits=False)
        await asyncio.to_thread(eventually, "the crash", lambda: crashed(release, "gateway"), 120)
        log = await asyncio.to_thread(log_of_crash, release, "gateway")
        assert "handoff" in log, log
        assert await asyncio.to_thread(refusal, release, keys.kept) == ""
        await asyncio.to_thread(release.roll_back)

    assert await outcomes(release, keys.kept, change) == [""] * 5


def crashed(release: Release, component: str) -> list[str]:
    """Pods whose container has ended, and is started again and again."""
    return [
        str(pod["metadata"]["name"])
        for pod in release.pods(component)
        if any("terminated" in container["lastState"] for container in pod["status"].get("containerStatuses", []))
    ]


def log_of_crash(release: Release, component: str) -> str:
    return release.kubectl("logs", crashed(release, component)[0], "--previous")


async def test_a_used_up_quota_holds_an_upgrade_back_until_there_is_room(release: Release, keys: Keys) -> None:
    metadata = {"name": "full", "namespace": release.namespace}
    pods = len(release.get("pods")["items"])
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": str(pods)}}}

    async def change() -> None:
        release.cluster.apply([quota])
        await asyncio.to_thread(release.upgrade, values=values(podAnnotations={"changed": "yes"}), waits=False)
        words = ("events", "--field-selector", "reason=FailedCreate", "-o", "name")
        await asyncio.to_thread(eventually, "the refusal", lambda: release.kubectl("get", *words), 60)
        await asyncio.sleep(10)
        await asyncio.to_thread(release.kubectl, "delete", "resourcequota", "full")

    assert await outcomes(release, keys.kept, change) == [""] * 5
    eventually("the new pods", lambda: all_have(release, "changed"), 240)


def all_have(release: Release, annotation: str) -> bool:
    pods = [pod for name in ("gateway", "worker", "slm-executor") for pod in release.pods(name)]
    return all(annotation in pod["metadata"].get("annotations", {}) for pod in pods)


async def test_what_a_lost_database_of_temporal_held_fails_clearly_and_an_upgrade_serves_new_requests(
    release: Release, keys: Keys
) -> None:
    async def lose() -> None:
        [pod] = release.pods("demo-temporal")  # it has no disk
        name = pod["metadata"]["name"]
        await asyncio.to_thread(release.kubectl, "delete", "pod", name, "--grace-period=0", "--force")
        await asyncio.to_thread(release.upgrade, values=values())  # the setup hook directs new requests to the workers

    seen = await outcomes(release, keys.kept, lose)
    assert seen == ["UNKNOWN_REQUEST"] * 5
    await asyncio.to_thread(eventually, "an answer", lambda: not refusal(release, keys.kept), 120)
