"""What goes wrong in the release that Prometheus watches: its values, and faults, each as long as its block."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tandem import AsyncClient, RequestError, StageCompleted
from tests.e2e.k8s import monitoring, trained_pair
from tests.e2e.k8s.beside import beside
from tests.e2e.k8s.release import NAME, Release, eventually, pod_names
from tests.e2e.k8s.values import scripted_profile

TRIED_AND_SHADOWED = """
[trial]
stages = [0]
max_tokens = 48

[shadow]
share = 1.0
"""
TENANT = "thrifty"
ENDLESS = "regex:(a+)+b"  # takes 2**40 steps to see that forty letters do not match


def profile(**changed: str) -> dict[str, Any]:
    text = scripted_profile(unavailable_timeout_seconds="3", **changed) + TRIED_AND_SHADOWED
    return {"name": "scripted", "files": {"profile.toml": text}}


def values(**changed: str) -> dict[str, Any]:
    return {
        "metrics": {
            "serviceMonitor": {"enabled": True, "interval": monitoring.INTERVAL},
            "prometheusRule": {
                "enabled": True,
                "runbookUrl": "https://docs.example.org/operate.html",
                "slo": {"seconds": 10},
            },
        },
        "profile": profile(**changed),
        "profiles": [trained_pair.values()],
        "tenants": {"limits": {"tenants": {TENANT: {"usd_per_day": 0.02}}}},
    }


async def ask(release: Release, count: int, script: str, **options: Any) -> list[str]:
    """Requests at once: "" or what each was refused with."""

    async def one(number: int) -> str:
        try:
            async with AsyncClient(release.gateway) as client:
                await client.ask(f"[{script}] {number}?", **options)
            return ""
        except RequestError as error:
            return str(error)

    return await asyncio.gather(*(one(number) for number in range(count)))


@asynccontextmanager
async def traffic(release: Release, script: str, count: int = 2, **options: Any) -> AsyncIterator[None]:
    """Requests one after the other, `count` at once."""

    async def on_and_on() -> None:
        while True:
            await ask(release, count, script, **options)

    async with beside(on_and_on()):
        yield


@asynccontextmanager
async def without(release: Release, component: str, script: str = "slm_eos=5") -> AsyncIterator[None]:
    """Traffic while this component has no pods."""
    deployment = f"deploy/{NAME}-{component}"
    replicas = release.get(deployment)["spec"]["replicas"]
    release.kubectl("scale", deployment, "--replicas=0")
    try:
        async with traffic(release, script):
            yield
    finally:
        release.kubectl("scale", deployment, f"--replicas={replicas}")
        await asyncio.to_thread(eventually, component, lambda: release.is_ready(component), 120)


@asynccontextmanager
async def http_without_gateways(release: Release) -> AsyncIterator[None]:
    """Requests to the HTTP gateway, which finds no gateway."""
    async with without(release, "gateway"), beside(ask_over_http(release)):
        yield


async def ask_over_http(release: Release) -> None:
    """Until cancelled."""
    address = release.get("service", f"{NAME}-http-gateway")["spec"]["clusterIP"]
    while True:
        with suppress(OSError):
            await asyncio.to_thread(urllib.request.urlopen, f"http://{address}:8080/v1/models", timeout=5)


@asynccontextmanager
async def frozen_generator(release: Release) -> AsyncIterator[None]:
    """The large model's process stands still in the moment in which its insight suffices."""

    pods = pod_names(release, "insight-generator")

    async def freeze() -> None:
        async with AsyncClient(release.gateway) as client:
            while True:
                with suppress(RequestError):
                    async for event in client.solve("[ms=100 score_ms=2000 scores=16:0.9 slm_eos=5] slow?"):
                        if isinstance(event, StageCompleted) and event.stage == 1:  # its score takes two seconds
                            signal_generators(pods, signal.SIGSTOP)
                            asyncio.get_running_loop().call_later(4, signal_generators, pods, signal.SIGCONT)

    async with beside(freeze()):  # its last thaw comes from the loop
        yield


def signal_generators(pods: set[str], number: signal.Signals) -> None:
    """To the processes of these pods' insight generators, which run on this machine."""
    words = ["pgrep", "-f", "^python -m services.insight_generator"]
    for process in subprocess.run(words, capture_output=True, text=True, check=False).stdout.split():
        if Path(f"/proc/{process}/root/etc/hostname").read_text().strip() in pods:
            os.kill(int(process), number)


@asynccontextmanager
async def changed_profile(release: Release, script: str, **changed: str) -> AsyncIterator[None]:
    await asyncio.to_thread(release.upgrade, values=values(**changed))
    try:
        async with traffic(release, script):
            yield
    finally:
        await asyncio.to_thread(release.upgrade, values=values())


@asynccontextmanager
async def dying_generators(release: Release) -> AsyncIterator[None]:
    """The large model's pod is killed again and again while it writes."""

    async def kill() -> None:
        while True:
            await asyncio.to_thread(release.wait_until_ready, "insight-generator")
            await asyncio.sleep(4)  # requests find it and it writes
            pods = pod_names(release, "insight-generator")
            await asyncio.to_thread(
                release.kubectl, "delete", "pod", *pods, "--grace-period=0", "--force", "--ignore-not-found"
            )

    async with traffic(release, "ms=150 slm_eos=5", 8):
        async with beside(kill()):
            yield
        await asyncio.to_thread(release.wait_until_ready, "insight-generator")


@asynccontextmanager
async def spent_budget(release: Release) -> AsyncIterator[None]:
    """Until the tenant is refused one request, which may cost a tenth of its budget; afterwards it may spend more."""
    while not any(await ask(release, 1, "slm_eos=60", tenant=TENANT)):
        pass
    yield
    more = {"tenants": {"limits": {"tenants": {TENANT: {"usd_per_day": 1}}}}}
    await asyncio.to_thread(release.upgrade, values={**values(), **more})


@asynccontextmanager
async def shifted_questions(release: Release) -> AsyncIterator[None]:
    """120 questions unlike those that the second pair's scorer was trained on; afterwards 180 like them, of the 200
    that count.
    """

    async def ask_many(script: str, count: int) -> None:
        for _ in range(count // 20):
            assert not any(await ask(release, 20, script, profile=trained_pair.PAIR))

    await ask_many(trained_pair.SCRIPT_UNLIKE, 120)
    yield
    await ask_many(trained_pair.SCRIPT_LIKE_TRAINING, 180)


@asynccontextmanager
async def lost_answers(release: Release) -> AsyncIterator[None]:
    """Shadows contradict the answers of the second pair until its policy becomes stricter."""
    shadowed = {**values(), "profiles": [trained_pair.values("\n[shadow]\nshare = 1.0\n")]}
    await asyncio.to_thread(release.upgrade, values=shadowed)
    async with AsyncClient(release.gateway) as client:
        while not any(policy.step for policy in (await client.promises()).policies):
            await client.ask("[slm=one_ slm_eos=5 llm=other_ llm_eos=6] lost?", profile=trained_pair.PAIR)
    yield
    await asyncio.to_thread(release.upgrade, values=values())


# By the alerts that one fault fires, with spaces between.
FAULTS: dict[str, Callable[[Release], AbstractAsyncContextManager[None]]] = {
    "TandemRequestsFail": lambda release: without(release, "slm-executor"),
    "TandemAnswersFailFast TandemAnswersFailSlowly": lambda release: without(release, "worker"),
    "TandemAnswersAreLate": lambda release: traffic(release, "ms=500 slm_eos=60", 8),
    "TandemHttpFails": http_without_gateways,
    "TandemDependencyFails": lambda release: without(release, "demo-redis"),
    "TandemLargeModelUnavailable": lambda release: without(release, "insight-generator"),
    "TandemScorerFailsOpen TandemDegradedRequests": lambda release: without(release, "sufficiency-scorer"),
    "TandemStopIsSlow": frozen_generator,
    "TandemSavesNothing": lambda release: changed_profile(release, "slm_eos=60", output_tokens="10"),
    "TandemLostAttempts": dying_generators,
    "TandemChecksEndInError": lambda release: traffic(release, f"slm={'a' * 40} slm_eos=40", checks=[ENDLESS]),
    "TandemQueueGrows": lambda release: traffic(release, "scores=0:0.9 ms=100 slm_eos=60", 60),
    "TandemSpansAreLost": lambda release: without(release, "demo-jaeger"),
    "TandemTenantNearsItsBudget": spent_budget,
    "TandemQuestionsHaveShifted": shifted_questions,
    "TandemPolicyIsStricter": lost_answers,
}
