"""Drains, upgrades, rollbacks and faults while requests run, on the real cluster, with the test engine and its
journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tandem import AsyncClient, to_dict
from tests.e2e.k8s.containers import tag_image
from tests.e2e.k8s.load import under_load
from tests.e2e.k8s.pods import run_python
from tests.e2e.k8s.release import COMPONENTS, MODELS, Release, eventually, image_tags, pod_names
from tests.e2e.k8s.values import scripted_profile
from tests.e2e.ledger import read_journal, reconcile

pytestmark = pytest.mark.timeout(1800)
FAULTS = Path(__file__).parents[3] / "lab" / "bench" / "results" / "k8s-faults.json"


async def settled(release: Release) -> float:
    """Seconds from when every pod is ready until a request passes without a note: processes have found each other."""
    await run(release.wait_until_ready)
    ready = time.monotonic()
    while True:
        async with AsyncClient(release.gateway) as client:
            result = to_dict(await client.ask("[slm_eos=1] settled?"))
        if not result["notes"] and len(result["stages"]) == 4:
            return time.monotonic() - ready
        assert time.monotonic() - ready < 600, result["notes"]


async def run(function: Callable[..., object], *arguments: object) -> None:
    await asyncio.to_thread(function, *arguments)


# Imports what a gateway does and prints which modules of the image had to be compiled for it; no pod can keep the
# result.
COMPILED = """
import subprocess, sys

said = subprocess.run([sys.executable, "-v", "-c", "import services.gateway.__main__"], capture_output=True, text=True, check=True)
of_image = ("# code object from /app/", "# code object from /usr/")
print([line for line in said.stderr.splitlines() if line.startswith(of_image)])
"""


def test_a_process_finds_its_code_and_libraries_compiled(scripted: Release) -> None:
    pod = scripted.pods("gateway")[0]["metadata"]["name"]
    assert run_python(scripted.cluster, scripted.namespace, pod, COMPILED).strip() == "[]"


async def test_a_rolling_upgrade_to_another_build_under_twenty_requests_loses_none(scripted: Release) -> None:
    tag_image(scripted.cluster, "localhost/tandem:worker", "localhost/tandem:next")

    async def upgrade() -> None:
        await run(lambda: scripted.upgrade(values={"image": {"tag": "next"}}))

    before = pod_names(scripted, *COMPONENTS)
    seen = await under_load(scripted, 20, upgrade)
    assert Counter(s["error"] for s in seen) == {"": 20}
    assert all(s["bill"]["reasoning"] for s in seen)
    scripted.wait_until_ready()
    assert not before & pod_names(scripted, *COMPONENTS)
    # The old build's workers go with the last of their requests; new ones begin on the new build.
    leaving = ("pods", "-l", "app.kubernetes.io/component=worker")
    eventually("their end", lambda: not before & {p["metadata"]["name"] for p in scripted.get(*leaving)["items"]}, 120)
    async with AsyncClient(scripted.gateway) as client:
        assert (await client.ask("[slm_eos=5] and now?")).reasoning


async def test_other_thresholds_take_effect_without_a_restart_of_the_models(scripted: Release) -> None:
    [tag] = image_tags(scripted, "gateway")
    image = {"tag": tag}
    scripted.upgrade(values={"image": image})
    scripted.wait_until_ready()
    before = pod_names(scripted, *MODELS)
    changed = scripted_profile(stage_zero_threshold="0.05")
    scripted.upgrade(values={"image": image, "profile": {"files": {"profile.toml": changed}}})
    scripted.wait_until_ready()
    async with AsyncClient(scripted.gateway) as client:
        result = to_dict(await client.ask("[slm_eos=5] now?"))
    assert (result["stop"]["stage"], result["stop"]["reason"]) == (0, "sufficient")
    assert before == pod_names(scripted, *MODELS)
    scripted.roll_back()
    scripted.wait_until_ready()
    async with AsyncClient(scripted.gateway) as client:
        result = to_dict(await client.ask("[slm_eos=5 scores=16:0.9] and now?"))
    assert result["stop"]["stage"] == 1


@pytest.mark.parametrize(
    "victim", ["worker", "insight-generator", "sufficiency-scorer", "slm-executor", "gateway", "demo-redis"]
)
async def test_a_pod_that_is_deleted_under_requests_costs_no_answer(scripted: Release, victim: str) -> None:
    await settled(scripted)
    journal = scripted.journal / "tokens"
    journal.touch()
    os.truncate(journal, 0)  # the engines have it open

    async def delete() -> None:
        [pod, *_] = scripted.pods(victim)
        await run(scripted.kubectl, "delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")

    # The executor is needed at the end, the others while the large model writes.
    seen = await under_load(scripted, 8, delete, "answer_delta" if victim == "slm-executor" else "insight_delta")
    eventually("the victim", lambda: scripted.is_ready(victim), 120)
    bills = [s["bill"] for s in seen if s["bill"]]
    found = asdict(reconcile(bills, read_journal(journal), 8, {victim: 1}))
    _record(victim, seen, found, await settled(scripted))
    assert len(bills) == 8
    # A client whose gateway has gone comes back by itself (tandem.client); one whose Redis has gone gets its answer
    # late.
    assert [s["error"] for s in seen] == [""] * 8
    assert all(bill["reasoning"] for bill in bills)
    for name, unbilled in found["difference"].items():
        assert 0 <= unbilled <= most_unbilled(victim, name, len(bills)), (name, found)


# What each victim takes with it that no bill has: tokens of one request that were not yet in the request log.
_LOST_WITH = {
    "insight-generator": ("llm",),
    "slm-executor": ("slm",),
    "sufficiency-scorer": ("scorer",),
    "demo-redis": ("llm", "slm", "scorer"),
}
_TOKENS_PER_WRITE = 2  # generated since the last write
_LONGEST_PROMPT = 150  # of WORK, with the whole insight


def most_unbilled(victim: str, name: str, num_requests: int) -> int:
    """Of the tokens `name` ("llm output", "scorer scored"), when `victim` is killed under so many requests."""
    role, kind = name.split()
    if role not in _LOST_WITH.get(victim, ()):
        return 0
    return num_requests * (_TOKENS_PER_WRITE if kind == "output" else _LONGEST_PROMPT)


def _record(victim: str, seen: list[dict[str, Any]], found: dict[str, Any], seconds: float) -> None:
    table = json.loads(FAULTS.read_text()) if FAULTS.exists() else {"bench": "k8s-faults", "faults": {}}
    notes = Counter(note.split(":")[0] for s in seen for note in (s["bill"].get("notes") or []))
    table["faults"][victim] = {
        "requests": len(seen),
        "client_saw": dict(Counter(s["error"] or "answer" for s in seen)),
        "reasons": found["reasons"],
        "notes": dict(notes),
        "billed_tokens": found["bills"],
        "made_tokens": found["engines"],
        "not_billed_tokens": found["difference"],
        "seconds_from_ready_until_found": round(seconds, 1),
    }
    FAULTS.write_text(json.dumps(table, indent=2) + "\n")
