"""An upgrade whose models take longer to start than old workers stay: by `helm --wait`, whose hook runs last of all,
and by a server-side apply, which runs no hook. Requests that run go on, and new ones are answered all the while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from deploy.chart_schema import merged
from tandem import AsyncClient
from tests.e2e.k8s import servers
from tests.e2e.k8s.beside import beside
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.containers import tag_image
from tests.e2e.k8s.load import check_answered, under_load
from tests.e2e.k8s.pods import CONTAINER
from tests.e2e.k8s.release import CHART, NAME, Release, image_tags
from tests.e2e.k8s.values import MODEL_KEYS, release_values

pytestmark = pytest.mark.timeout(1200)
STAY_SECONDS, START_SECONDS = 20, 90
"""How long an old worker stays, and how long a model's pod takes: the twentieth part of what a large model takes, of
both.
"""


def values(tag: str, start_seconds: int) -> dict[str, Any]:
    """Two pods of each model, since a pod is taken away before the one in its place is ready."""
    slow = {"name": "slow", **CONTAINER, "image": f"localhost/tandem:{tag}", "command": ["sleep", str(start_seconds)]}
    model = {"replicaCount": 2, "extraInitContainers": [slow]}
    return {
        "image": {"tag": tag},
        **servers.VALUES,
        "auth": {"allowAnonymous": True},
        "worker": {"handoverSeconds": STAY_SECONDS},
        **dict.fromkeys(MODEL_KEYS, model),
    }


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    release = Release(cluster, "handed-over", scripted=True)
    release.prepare()
    servers.start_servers(release)
    release.upgrade("--install", values=values("worker", 0))
    release.wait_until_ready()
    yield release
    release.remove()


def by_helm(release: Release, changed: dict[str, Any]) -> None:
    """`--wait`: the hook that promotes the new workers runs when every model is ready."""
    release.upgrade(values=changed)


def by_apply(release: Release, changed: dict[str, Any]) -> None:
    """What Argo CD and Flux do with the chart's manifests, without its hooks."""
    every = merged(release_values(release.mode, scripted=True), changed)
    words = ("template", NAME, str(CHART), "-n", release.namespace, "--no-hooks", "-f", "-")
    rendered = release.cluster.helm(*words, input=yaml.safe_dump(every))
    release.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=rendered)
    for model in ("insight-generator", "sufficiency-scorer", "slm-executor"):
        release.kubectl("rollout", "status", f"deploy/{NAME}-{model}", "--timeout=600s")


@pytest.mark.parametrize(("how", "tag"), [(by_helm, "next"), (by_apply, "worker")])
async def test_an_upgrade_with_slow_models_loses_no_request_and_answers_new_ones(
    release: Release, how: Any, tag: str
) -> None:
    tag_image(release.cluster, "localhost/tandem:worker", f"localhost/tandem:{tag}")
    answers: list[str] = []

    async def ask_on_and_on() -> None:
        while True:
            async with AsyncClient(release.gateway) as client:
                answers.append((await client.ask("[slm_eos=5] and now?")).reasoning)

    async def change() -> None:
        async with beside(ask_on_and_on()):
            await asyncio.to_thread(how, release, values(tag, START_SECONDS))

    check_answered(await under_load(release, 20, change))
    assert answers
    assert all(answers)
    release.wait_until_ready()
    assert image_tags(release) == {tag}
