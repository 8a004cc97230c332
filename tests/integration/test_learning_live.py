"""A promise learns on live traffic: it begins with the large model alone, shows what cheap models may answer, lets them
answer, and closes when that changes. Nobody gives a command.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from services.shared.request_log.learned import LearnedChange, Lesson
from services.shared.request_log.log import RequestLog
from tandem.method.profile.profile import load_profile
from tandem.method.promise.arms import LearnedKind, arms
from tandem.method.promise.rule import LEAST_SAMPLED
from tandem.method.promise.standing import Standing
from tandem.method.request.learning import digest_of_learning
from tests.integration.asking import BOUND_SECONDS, ask, idle
from tests.integration.checking import PROMPT
from tests.integration.conftest import System, run_system
from tests.integration.request_logs import open_log
from tests.integration.test_agreeing_models import OTHER
from tests.integration.test_second_model import billed, counted, since
from tests.integration.test_tools import PARIS, WEATHER

pytestmark = pytest.mark.asyncio(loop_scope="session")
NUMBER, CONFIDENCE, LEARN = 0.5, 0.6, 0.5
MANY = 6  # requests at once


@dataclass
class Promised:
    """A system that promises, and what it has learned so far."""

    system: System
    log: RequestLog
    name: str
    digest: str
    small_models: int
    asked: int = field(default=0)

    async def standing(self, kind: LearnedKind, tenant: str = "") -> Standing:
        lesson = Lesson(tenant, self.name, kind, self.digest)
        return await self.log.learned.standing(lesson, len(arms(kind, self.small_models)))

    async def until(self, kind: LearnedKind, holds: Callable[[Standing], bool], tenant: str = "") -> Standing:
        deadline = time.monotonic() + BOUND_SECONDS
        while not holds(found := await self.standing(kind, tenant)):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)
        return found

    async def changes(self) -> list[LearnedChange]:
        return await self.log.learned.changes("", self.name)

    async def ask(self, slm: str, second: str, llm: str, **options: Any) -> dict[str, Any]:
        """A request that nobody has asked before."""
        self.asked += 1
        texts = {"slm": slm, "second": second, "third": second, "llm": llm}
        script = " ".join(f"{role}={text} {role}_eos={len(text) + 1}" for role, text in texts.items())
        question = f"# {self.asked} {uuid4().hex} [{script}]\n{options.pop('prompt', '')}"
        if options.get("tools"):
            return await ask(self.system, [{"role": "user", "content": question}], **options)  # type: ignore[arg-type]
        return await ask(self.system, question, **options)

    async def ask_many(self, number: int, slm: str, second: str, llm: str, **options: Any) -> list[dict[str, Any]]:
        found = []
        for _ in range(0, number, MANY):
            found += await asyncio.gather(*(self.ask(slm, second, llm, **options) for _ in range(MANY)))
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def promised(
    redis_url: str, temporal_address: str, checker_address: str, profiles_folder: Path, tmp_path: Path
) -> AsyncIterator[Promised]:
    name = f"promised-{uuid4().hex[:8]}"
    shutil.copytree(profiles_folder / "scripted-promised", tmp_path / name)
    file = tmp_path / name / "profile.toml"
    number = f"lose_at_most = {NUMBER}\nconfidence = {CONFIDENCE}\nlearn = {LEARN}\n"
    text = file.read_text().replace("scripted-promised", name).replace("lose_at_most = 0.03\n", number)
    file.write_text(text)
    profile = load_profile(name, (tmp_path,))
    digest = digest_of_learning(profile.digest, profile.small_roles, (NUMBER, CONFIDENCE))
    async with (
        run_system(name, tmp_path, redis_url, temporal_address, checker_address) as system,
        open_log(redis_url) as log,
    ):
        yield Promised(system, log, name, digest, len(profile.small))


async def test_it_begins_with_the_large_model_shows_and_serves(promised: Promised) -> None:
    first = await promised.ask("18", "$18.00", "18")
    assert first["answered_by"] == "llm"
    await promised.ask_many(LEAST_SAMPLED + MANY, "18", "$18.00", "18")
    found = await promised.until("answer", lambda standing: standing.serving is not None)
    assert (found.counts.shown, found.counts.arms[0].open) == (3, 0)
    served = await promised.ask("18", "$18.00", "18")
    assert (served["answered_by"], served["stop"]["reason"]) == ("slm", "verified")
    assert [each.what for each in await promised.changes()] == ["shown", "shown", "shown", "serves"]
    differing = await promised.ask("18", "19", "17")
    assert differing["answered_by"] == "llm"


async def test_of_calls_the_first_small_model_tells_the_kind(promised: Promised) -> None:
    offered = {"tools": [WEATHER, OTHER]}
    await promised.ask_many(LEAST_SAMPLED + MANY, PARIS, PARIS, PARIS, **offered)
    found = await promised.until("tools", lambda standing: standing.serving is not None)
    assert found.counts.sampled >= LEAST_SAMPLED
    assert (await promised.standing("no_call")).counts.sampled == 0
    served = await promised.ask(PARIS, PARIS, PARIS, **offered)
    assert served["answered_by"] == "slm"
    # Of texts without a call nothing is shown yet, whatever the models agree on.
    other = await promised.ask("It_is_sunny.", "Sun.", "Sun.", **offered)
    assert (other["answered_by"], other["answer"]) == ("llm", "Sun.")
    await promised.until("no_call", lambda standing: standing.counts.sampled <= 1)


async def test_bills_and_what_is_paid_beside_are_what_the_models_counted(promised: Promised) -> None:
    before = counted(promised.system)
    result = await promised.ask("18", "$18.00", "18")
    found = await promised.until("answer", lambda standing: standing.counts.sampled == 1)
    await idle(promised.system)
    used = since(before, promised.system)
    assert billed(result["usage"])["llm"] == used["llm"]
    assert found.counts.large == pytest.approx(result["cost"]["usd"])
    assert found.counts.beside > 0


async def test_who_promises_nothing_learns_nothing(promised: Promised) -> None:
    for options in ({"profile": f"{promised.name}/large"}, {"checks": ["regex:18"]}):
        result = await promised.ask("18", "$18.00", "18", **options)
        assert result["answered_by"] in ("llm", "slm")
    await idle(promised.system)
    assert (await promised.standing("answer")).counts.sampled == 0
    assert await promised.changes() == []


async def test_another_model_behind_the_same_name_closes_it_and_it_begins_anew(promised: Promised) -> None:
    await promised.ask_many(LEAST_SAMPLED + MANY, "18", "$18.00", "18")
    await promised.until("answer", lambda standing: standing.serving is not None)
    # The small models agree no more: without a label and without a loss that is seen on every request.
    await promised.ask_many(10 * MANY, "18", "19", "18")
    found = await promised.until("answer", lambda standing: standing.epoch == 1)
    assert (found.serving, found.counts.shown, found.counts.offs) == (None, 0, 1)
    closed = (await promised.changes())[-1]
    assert (closed.what, closed.kind) == ("closed", "answer")
    assert "less often" in closed.why
    assert (await promised.ask("18", "18", "18"))["answered_by"] == "llm"


async def test_texts_of_a_dispute_wait_for_a_label(promised: Promised) -> None:
    result = await promised.ask("18", "$18.00", "17")
    await promised.until("answer", lambda standing: standing.counts.arms[0].open == 1)
    now = datetime.now(UTC)
    request_id = result["request_id"]
    assert request_id in await promised.log.disputes.listed("", now)
    kept = await promised.log.disputes.read("", request_id)
    assert kept
    assert (kept.request_id, kept.epoch, kept.lesson.kind) == (request_id, 0, "answer")
    assert (kept.dispute.of_large, kept.dispute.of_small) == ("17", "18")
    await promised.log.learned.label(kept.lesson, kept.epoch, request_id, is_lost=True, who="test")
    assert (await promised.standing("answer")).counts.arms[0].lost == 1
    await promised.system.client.delete(request_id)
    assert await promised.log.disputes.read("", request_id) is None
    assert request_id not in await promised.log.disputes.listed("", now)


async def test_programs_are_learned_by_the_examples_in_their_prompt(promised: Promised) -> None:
    right, wrong = "def_add(a,_b):|____return_a_+_b", "def_add(a,_b):|____return_3"
    other = "def_add(a,_b):|____return_b_+_a"
    for number, (small, large) in enumerate(
        [(right, other), (wrong, right), (right, "def_add(a,_b):|____return_0")], 1
    ):
        await promised.ask(small, wrong, large, task="code", prompt=PROMPT)
        found = await promised.until("code", lambda standing, number=number: standing.counts.sampled == number)
    by_weight = dict(zip([arm.name for arm in arms("code", 3)], found.counts.arms, strict=True))
    # The wrong program passes no example; the large model's that fails them is no answer that could be lost.
    assert (by_weight["examples 2"].taken, by_weight["examples 2"].open) == (2, 0)
    assert by_weight["examples 6"].taken == 0  # the prompt's examples count less


async def test_redis_that_lost_its_memory_means_the_large_model_alone(promised: Promised) -> None:
    await promised.ask_many(LEAST_SAMPLED + MANY, "18", "$18.00", "18")
    await promised.until("answer", lambda standing: standing.serving is not None)
    await idle(promised.system)
    lesson = Lesson("", promised.name, "answer", promised.digest)
    await promised.log._connection.redis.delete(*lesson.keys())
    assert (await promised.ask("18", "$18.00", "18"))["answered_by"] == "llm"
    assert (await promised.standing("answer")).counts.shown == 0
