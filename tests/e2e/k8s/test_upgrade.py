"""From the version before to this one and back, each with its own chart and image, while requests run: none is lost.

The version before is a commit in images.sh: since then the request log lays out its writes in another way, and an
overlapped trial begins at another step of the workflow. A request stays on the workers of the build that it began with.
Temporal and Redis are none of the release's, so that no upgrade replaces them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tandem import AsyncClient, to_dict
from tandem.paths import REPOSITORY
from tests.e2e.k8s import servers
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.release import Release, image_tags
from tests.e2e.k8s.values import before

pytestmark = pytest.mark.timeout(1200)
WORK = "[ms=200 slm_eos=60] {}"  # 48 tokens of insight, 60 of answer: some twenty seconds
TRIED = 'def f{}():\n    """[ms=200 slm=pass slm_eos=60]\n\n    >>> f{}()\n    1\n    """\n'  # the trial fails


def values(tag: str) -> dict[str, Any]:
    text = (REPOSITORY / "tests" / "profiles" / "scripted-overlapped" / "profile.toml").read_text()
    text = text.replace('"scripted-overlapped"', '"scripted"', 1)
    text = text.replace("[execution]\n", "[execution]\nunavailable_timeout_seconds = 120\n", 1)
    return {
        "image": {"tag": tag},
        **servers.VALUES,
        "auth": {"allowAnonymous": True},
        "profile": {"name": "scripted", "files": {"profile.toml": text}},
        "httpGateway": {"enabled": False},  # the chart before did not tell it that anyone may ask
    }


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    release = Release(cluster, "upgraded", scripted=True)
    release.prepare()
    servers.start_servers(release)
    release.upgrade("--install", chart=cluster.folder / "previous" / "helm", values=values("previous") | before())
    release.wait_until_ready()
    yield release
    release.remove()


@asynccontextmanager
async def requests(release: Release) -> AsyncIterator[list[dict[str, Any]]]:
    """Twenty that run while the block does, half of them with an overlapped trial; afterwards, their results."""
    running, results = [asyncio.Event() for _ in range(20)], []

    async def ask(number: int) -> None:
        is_tried = number % 2 == 1
        question = (TRIED if is_tried else WORK).format(number, number)
        async with AsyncClient(release.gateway) as client:
            async for event in client.solve(question, code=is_tried):
                running[number].set()
                if event.kind == "completed":
                    results.append(to_dict(event.result))

    asked = [asyncio.create_task(ask(number)) for number in range(20)]
    await asyncio.gather(*(each.wait() for each in running))
    yield results
    await asyncio.gather(*asked)


def check(results: list[dict[str, Any]]) -> None:
    assert len(results) == 20
    assert all(result["reasoning"] for result in results), [r for r in results if not r["reasoning"]]
    # A request that was given up and begun anew is fenced off by what its first run has written.
    assert [note for result in results for note in result["notes"] if "FENCED" in note] == []
    assert all(result["cost"]["usd"] > 0 for result in results)


async def test_the_upgrade_from_the_version_before_loses_no_request_and_neither_does_the_way_back(
    release: Release,
) -> None:
    assert image_tags(release) == {"previous"}
    async with requests(release) as results:
        await asyncio.to_thread(release.upgrade, values=values("worker"))
    check(results)
    await asyncio.to_thread(release.wait_until_ready)
    assert image_tags(release) == {"worker"}
    async with requests(release) as results:
        await asyncio.to_thread(release.roll_back)
    check(results)
    await asyncio.to_thread(release.wait_until_ready)
    async with AsyncClient(release.gateway) as client:
        assert (await client.ask("[slm_eos=5] and now?")).reasoning
