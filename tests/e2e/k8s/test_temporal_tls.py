"""Temporal behind mutual TLS, with a client's secret that has no ca.crt, as Temporal Cloud is entered by certificates
of one's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tandem import Client
from tests.e2e.k8s import temporal_tls
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.release import Release, eventually

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    release = Release(cluster, "temporal-tls", scripted=True)
    release.prepare()
    temporal_tls.install(release)
    yield release
    release.remove()


def test_a_secret_without_an_authority_enters_a_temporal_that_asks_for_certificates(release: Release) -> None:
    secret = json.loads(release.kubectl("get", "secret", "temporal-client", "-o", "json"))
    assert secret["data"].keys() == {"tls.crt", "tls.key"}
    release.upgrade("--install", values={"temporal": temporal_tls.values(release)})  # its hook enters Temporal as well
    release.wait_until_ready("gateway", "worker")
    with Client(release.gateway) as client:
        assert client.ask("[slm_eos=5] by mutual TLS?").reasoning


def test_without_the_servers_authority_no_worker_trusts_it(release: Release) -> None:
    """A private authority is the system's in no image; the client's own authority, which signed nothing of the
    server's, is no help.
    """
    trusted: dict[str, Any] = temporal_tls.values(release)
    release.upgrade(values={"temporal": {**trusted, "tls": {**trusted["tls"], "caSecret": ""}}}, waits=False)
    words = ("logs", "-l", "app.kubernetes.io/component=worker", "--prefix", "--tail=50")
    eventually("the refusal", lambda: "certificate" in release.kubectl(*words).lower(), 180)
    release.roll_back()
