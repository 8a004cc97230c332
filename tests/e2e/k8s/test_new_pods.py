"""Pods of the small model come and go beside one worker, whose channels are older than they are, under 60 requests a
minute.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tandem import AsyncClient, to_dict
from tests.e2e.k8s import monitoring
from tests.e2e.k8s.beside import beside
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.load import WORK, check_answered, under_load
from tests.e2e.k8s.monitoring import Prometheus
from tests.e2e.k8s.release import NAME, Release, eventually, installed
from tests.e2e.k8s.values import MODEL_KEYS

pytestmark = [pytest.mark.timeout(1200), pytest.mark.alone]
_EXECUTOR = f"{NAME}-slm-executor"
_ANSWERS = 'gen_ai_server_request_duration_seconds_count{{namespace="{}",role="slm",gen_ai_operation_name="chat"}}'
_SHARE_SECONDS = 60.0


@pytest.fixture(scope="module")
def release(cluster: Cluster, prometheus: Prometheus) -> Iterator[Release]:
    values = {
        **{key: {"gpus": 0, "pool": "slm"} for key in MODEL_KEYS},  # not bound to the two fake GPUs
        "worker": {"replicaCount": 1, "maxLlm": 32},
        "metrics": {"serviceMonitor": {"enabled": True, "interval": monitoring.INTERVAL}},
    }
    with installed(Release(cluster, "new-pods", scripted=True), values=values) as release:
        yield release


class Traffic:
    """A request each second, each a conversation of its own. `ended`: their bills, in the order in which they ended."""

    def __init__(self, release: Release) -> None:
        self._address = release.gateway
        self.ended: list[dict[str, Any]] = []

    async def flow(self) -> None:
        async with AsyncClient(self._address) as client, asyncio.TaskGroup() as group:
            number = 0
            try:
                while True:
                    group.create_task(self._ask(client, number))
                    number += 1
                    await asyncio.sleep(1)
            except asyncio.CancelledError:
                return  # the group waits for those that run

    async def _ask(self, client: AsyncClient, number: int) -> None:
        self.ended.append(to_dict(await client.ask(WORK.format(number))))


@asynccontextmanager
async def flowing(release: Release) -> AsyncIterator[Traffic]:
    traffic = Traffic(release)
    async with beside(traffic.flow()):
        yield traffic


def answers(release: Release, prometheus: Prometheus) -> dict[str, float]:
    """That each pod of the executor has ended, by pod."""
    found = prometheus.query(f"sum by (pod) ({_ANSWERS.format(release.namespace)})")
    return {each["metric"]["pod"]: float(each["value"][1]) for each in found}


def scale(release: Release, number: int) -> float:
    """Until so many are ready: the moment, by the monotonic clock."""
    release.kubectl("scale", f"deployment/{_EXECUTOR}", f"--replicas={number}")
    release.kubectl("rollout", "status", f"deployment/{_EXECUTOR}", "--timeout=300s")
    return time.monotonic()


async def test_new_pods_have_their_share_within_a_minute_and_no_request_is_lost(
    release: Release, prometheus: Prometheus
) -> None:
    async with flowing(release) as traffic:
        await asyncio.to_thread(eventually, "answers", lambda: len(traffic.ended) >= 5, 240)
        ready_at = await asyncio.to_thread(scale, release, 3)
        before = answers(release, prometheus)

        def share() -> dict[str, float]:
            """Of the answers since then, by pod; empty until the third has a sixth of them: half of an even share."""
            now = answers(release, prometheus)
            new = {pod: count - before.get(pod, 0.0) for pod, count in now.items()}
            return new if len(new) == 3 and min(new.values()) >= max(2.0, sum(new.values()) / 6) else {}

        shares = await asyncio.to_thread(eventually, "the third pod's share", share, 180)
        seconds = time.monotonic() - ready_at
    print(json.dumps({"seconds_until_the_third_pod_has_its_share": round(seconds, 1), "answers": shares}))
    assert seconds < _SHARE_SECONDS
    assert {note for each in traffic.ended for note in each["notes"]} == set()


async def test_three_pods_become_one_while_answers_stream_and_none_is_lost(release: Release) -> None:
    await asyncio.to_thread(scale, release, 3)

    async def happen() -> None:
        await asyncio.to_thread(scale, release, 1)

    check_answered(await under_load(release, 24, happen, moment="answer_delta"))
