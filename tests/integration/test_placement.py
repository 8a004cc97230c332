"""Calls that read the same go to the pod that has read it: those of a request, and the requests of a conversation."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from services.models.engine.api import Engine
from services.models.engine.settings import EngineSettings
from services.models.engine.torch_engine.engine import TransformersEngine
from services.shared.process import service_channel
from services.shared.request_log.log import RequestLog
from tandem.convert.requests import prefill_request_to_pb
from tandem.convert.values import counts_from_pb
from tandem.method.conversation import Message
from tandem.method.tokens import TokenCounts
from tandem.v1 import execution_pb2
from tests.integration.loopback_pods import BOUND_SECONDS, executed, pods_of, scripted, until
from tests.integration.request_logs import open_log
from tests.steps import asked
from workflows.activities.model_call import abort, place_of

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


@pytest_asyncio.fixture(loop_scope="session")
async def log(redis_url: str) -> AsyncIterator[RequestLog]:
    async with open_log(redis_url) as log:
        yield log


async def test_all_calls_of_a_request_go_to_its_pod_while_others_come_and_it_leaves_the_name(
    log: RequestLog, profiles_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_channel, "RESOLVE_SECONDS", 0.2)
    async with pods_of(log, profiles_folder, scripted(4)) as pods:
        pods.named = (0, 1)
        async with pods.connected() as stub:
            tasks = [
                asked(uuid4().hex, "[slm_eos=9999 ms=10]", "scripted", max_tokens=(9999,), epoch=1) for _ in range(8)
            ]
            answers = [asyncio.ensure_future(executed(stub, task)) for task in tasks]
            await until(lambda: sum(len(engine.running) for engine in pods.engines) == 8)
            pods.named = (1, 2, 3)
            await asyncio.sleep(3 * service_channel.RESOLVE_SECONDS)
            for task in tasks:
                await abort(stub, task.request_id, 1)
            ends = await asyncio.wait_for(asyncio.gather(*answers), BOUND_SECONDS)
            assert {end.finished.reason for end in ends} == {execution_pb2.FINISH_REASON_ABORTED}
            left = [task for task, end in zip(tasks, ends, strict=True) if end.usage.model == "slm-1"]
            for task in left:
                await stub.Prefill(prefill_request_to_pb(*task), timeout=BOUND_SECONDS, metadata=place_of(*task))
    assert left
    assert len(pods.engines[1]._ahead) == len(left)


@dataclass
class Talk:
    """A conversation that goes on with what was answered."""

    tenant: str
    history: tuple[Message, ...] = (Message("system", "You help. " * 20),)
    counts: TokenCounts = field(default_factory=TokenCounts)

    async def turn(self, stub: Any, answered: Counter[str], *, is_placed: bool) -> None:
        question = f"{uuid4().hex} asks this, and some more words so that it is long."
        request_id = f"{self.tenant}/{uuid4().hex}"
        task = asked(request_id, question, "scripted", max_tokens=(8,), epoch=1, task="chat", history=self.history)
        end = await executed(stub, task, is_placed=is_placed)
        self.history += (Message("user", question), Message("assistant", end.finished.text))
        self.counts += counts_from_pb(end.usage)
        answered[end.usage.model] += 1


@contextlib.contextmanager
def tiny_engines(checkpoint: Path, number: int) -> Iterator[list[Engine]]:
    engines = [TransformersEngine(EngineSettings(checkpoint, f"slm-{n}", dtype="float32")) for n in range(number)]
    for engine in engines:
        engine.start()
    yield list(engines)
    for engine in engines:
        engine.stop()


async def cached_share(log: RequestLog, profiles: Path, checkpoint: Path, number: int, *, is_placed: bool) -> float:
    """Of what twelve conversations of six turns read, with `number` pods."""
    talks, answered, rng = [Talk(f"t{each % 3}") for each in range(12)], Counter[str](), random.Random(1)

    async def go_on(talk: Talk) -> None:
        for _ in range(6):
            await talk.turn(stub, answered, is_placed=is_placed)
            await asyncio.sleep(rng.random() * 0.1)

    with tiny_engines(checkpoint, number) as engines:
        async with pods_of(log, profiles, engines) as pods, pods.connected() as stub:
            await asyncio.gather(*map(go_on, talks))
    counts = sum((talk.counts for talk in talks), TokenCounts())
    share = counts.cached / (counts.prompt + counts.cached)
    how = "placed" if is_placed else "anywhere"
    print(
        f"{number} pods, {how}: {share:.0%} cached, {counts.prompt} tokens computed, answers "
        f"{sorted(answered.values())}"
    )
    assert max(answered.values()) <= 72 * (1 if number == 1 else 0.85)
    return share


async def test_a_conversation_goes_on_where_it_is_cached(
    log: RequestLog, profiles_folder: Path, checkpoint: Path
) -> None:
    one, two, four = [
        await cached_share(log, profiles_folder, checkpoint, number, is_placed=True) for number in (1, 2, 4)
    ]
    anywhere = await cached_share(log, profiles_folder, checkpoint, 4, is_placed=False)
    assert two > one - 0.15
    assert four > one - 0.15
    assert four > anywhere + 0.05
