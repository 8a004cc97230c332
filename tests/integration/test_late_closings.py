"""A Redis that takes no writes while a caller dies: what its attempt used is in the log before the next attempt
begins.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from temporalio.testing import ActivityEnvironment

from services.models.generation.journal import Journal
from services.models.generation.role_generator import GenerationStarted
from services.shared.request_log.connection import Lost, Role
from services.shared.request_log.log import RequestLog
from services.shared.request_log.streams import Closing
from services.slm_executor.generator import AnswerGenerator
from tandem.method.profile.prices import RolePrices
from tandem.method.profile.profile import load_profile
from tandem.method.request.tasks import GenerationOutcome, LostUsageTask
from tandem.method.tokens import TokenCounts
from tests.conftest import Hold
from tests.fakes import ScriptedEngine
from tests.integration.request_logs import fill, log_of_its_own, make_room
from tests.steps import Asked, asked
from workflows.activities.usage import LostUsageActivities, ReportedUsage

pytestmark = pytest.mark.asyncio(loop_scope="session")
Executor = tuple[AnswerGenerator, ScriptedEngine]


@pytest_asyncio.fixture(loop_scope="session")
async def log(tmp_path: Path) -> AsyncIterator[RequestLog]:
    async with log_of_its_own(tmp_path) as log:
        yield log


@pytest.fixture
def executor(log: RequestLog, profiles_folder: Path) -> Executor:
    engine = ScriptedEngine("scripted-slm")
    return AnswerGenerator(engine, log, load_profile("scripted", (profiles_folder,))), engine


def answer(question: str, epoch: int, request_id: str, trial: int = 0) -> Asked:
    return asked(request_id, question, "scripted", max_tokens=(64,), epoch=epoch, trial=trial)


async def has_generated(engine: ScriptedEngine, tokens: int) -> None:
    while engine.counters.output_tokens < tokens:
        await asyncio.sleep(0.01)


async def leave_at(executor: Executor, task: Asked, tokens: int) -> None:
    """As a worker that dies does, once the engine has generated so many tokens."""
    generator, engine = executor
    wanted = engine.counters.output_tokens + tokens
    async with aclosing(generator.generate(*task)) as events:
        await anext(events)
        rest = asyncio.ensure_future(anext(events))
        await has_generated(engine, wanted)
        rest.cancel()
        await asyncio.wait({rest})


async def outcome(executor: Executor, task: Asked) -> GenerationOutcome:
    [last] = [e async for e in executor[0].generate(*task) if isinstance(e, GenerationOutcome)]
    return last


def all_is_billed(done: GenerationOutcome, engine: ScriptedEngine) -> None:
    assert done.counts.generated == engine.counters.output_tokens
    assert done.counts.prompt == engine.counters.input_tokens


async def counts_are(log: RequestLog, request_id: str, counts: TokenCounts) -> None:
    async with asyncio.timeout(30):
        while await log.ledger.counts(request_id, Role.ANSWER) != counts:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("num_left", [1, 2])
async def test_an_answer_that_was_not_logged_and_whose_worker_died_is_on_the_bill(
    log: RequestLog, executor: Executor, hold: Hold, num_left: int
) -> None:
    request_id, engine = uuid4().hex, executor[1]
    question = f"[slm_eos=20 slm_hold=12:{hold}]"
    await fill(log)
    for epoch in range(1, 1 + num_left):
        await leave_at(executor, answer(question, epoch, request_id), 12)
    await make_room(log)
    hold.release()
    done = await outcome(executor, answer(question, 1 + num_left, request_id))
    assert (done.counts.completion, done.counts.discarded) == (20, 12 * num_left)
    all_is_billed(done, engine)


async def test_what_was_logged_before_redis_was_full_is_on_the_bill_of_an_answer_that_is_not_logged(
    log: RequestLog, executor: Executor, hold: Hold
) -> None:
    request_id, engine = uuid4().hex, executor[1]
    question = f"[slm_eos=20 slm_hold=12:{hold}]"
    await leave_at(executor, answer(question, 1, request_id), 12)
    await fill(log)
    await leave_at(executor, answer(question, 2, request_id), 12)
    hold.release()
    done = await outcome(executor, answer(question, 3, request_id))
    assert not done.is_logged
    all_is_billed(done, engine)


async def test_a_log_that_fills_up_under_an_answer_has_its_tokens_once_there_is_room(
    log: RequestLog, executor: Executor, hold: Hold
) -> None:
    """Also without another attempt in this process: settlement, or another replica, reads the log."""
    request_id, engine = uuid4().hex, executor[1]
    task = answer(f"[slm_eos=40 slm_hold=12:{hold}]", 1, request_id)
    async with aclosing(executor[0].generate(*task)) as events:
        await anext(events)
        rest = asyncio.ensure_future(anext(events))
        await has_generated(engine, 12)
        await fill(log)
        hold.release()
        await asyncio.wait({rest})
    await make_room(log)
    computed = TokenCounts(prompt=engine.counters.input_tokens, discarded=engine.counters.output_tokens)
    await counts_are(log, request_id, computed)
    assert (
        await log.ledger.take_unreported(request_id, Role.ANSWER) == computed
    )  # the failed attempt's span has no usage


async def test_an_unlogged_trial_does_not_pay_for_the_one_before_it(log: RequestLog, executor: Executor) -> None:
    request_id = uuid4().hex
    first = await outcome(executor, answer("[slm_eos=20]", 10_001, request_id, trial=1))
    await fill(log)
    for trial in (2, 3):
        done = await outcome(executor, answer("[slm_eos=20]", trial * 10_000 + 1, request_id, trial))
        assert (done.is_logged, done.counts) == (False, first.counts)
    await make_room(log)
    async for event in executor[0].generate(*answer("[slm_eos=20]", 40_001, request_id, trial=4)):
        if isinstance(event, GenerationStarted):
            assert event.at.earlier == TokenCounts()


_KILLED = """
import os, signal, sys
from pathlib import Path
from services.models.generation.journal import Attempt, Journal
Journal(Path(sys.argv[1])).begin(Attempt(sys.argv[2], 1, 0)).count(9, 7)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_what_a_killed_process_had_not_logged_is_on_the_next_attempts_bill(
    log: RequestLog, profiles_folder: Path, tmp_path: Path
) -> None:
    request_id, engine, journal = uuid4().hex, ScriptedEngine("scripted-slm"), tmp_path / "journal"
    writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token")
    await writer.append("abc", list(b"abc"), prompt_tokens=9)
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", _KILLED, str(journal), request_id)
    assert await killed.wait() == -signal.SIGKILL
    profile = load_profile("scripted", (profiles_folder,))
    again = AnswerGenerator(engine, log, profile, journal=Journal(journal))
    await counts_are(log, request_id, TokenCounts(prompt=9, discarded=7))
    done = await outcome((again, engine), answer("[slm_eos=20]", 2, request_id))
    assert done.counts.discarded == 4  # of the killed process's seven, three stand in the text
    assert not list(journal.iterdir())


async def test_who_closes_for_a_dead_writer_counts_nothing_twice(log: RequestLog) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.ANSWER, 1, "token")
    await writer.append("ab", [1, 2], prompt_tokens=9)
    await log.streams.close(rid, Role.ANSWER, 1, Closing("aborted", 9, 5, is_on_span=False))
    after = await log.ledger.counts(rid, Role.ANSWER)
    assert after == TokenCounts(prompt=9, discarded=5)
    await log.streams.close(rid, Role.ANSWER, 1, Closing("aborted", 9, 5, is_on_span=False))
    assert await log.ledger.counts(rid, Role.ANSWER) == after
    with pytest.raises(Lost):
        await log.streams.close(uuid4().hex, Role.ANSWER, 1, Closing("aborted", 9, 5))


async def test_who_closes_for_a_dead_writer_with_less_than_it_had_logged_takes_nothing_away(log: RequestLog) -> None:
    rid = uuid4().hex
    writer = await log.streams.begin(rid, Role.ANSWER, 1, "token")
    await writer.append("abc", [1, 2, 3], prompt_tokens=9)
    await log.streams.close(rid, Role.ANSWER, 1, Closing("aborted", 0, 2, is_on_span=False))
    assert await log.ledger.counts(rid, Role.ANSWER) == TokenCounts(prompt=9, discarded=3)


@pytest.mark.parametrize(
    ("prompt", "repeated", "billed"),
    [
        (20_000, 0.9, TokenCounts(2_000, 18_000)),
        (1_000, 0.9, TokenCounts(1_000)),  # of so little no vendor keeps anything
        (20_000, 0.0, TokenCounts(20_000)),  # a first turn, or an engine of ours
        (20_000, None, TokenCounts(20_000, written_hour=20_000)),
    ],
    ids=["a turn", "a short one", "nothing repeated", "a limit in USD"],
)
async def test_a_lost_prompt_is_billed_as_cached_as_far_as_the_turn_before_had_it_unless_a_limit_depends_on_it(
    log: RequestLog, prompt: int, repeated: float | None, billed: TokenCounts
) -> None:
    request_id, prices = uuid4().hex, RolePrices(3.0, 0.3, 15.0, cache_write=3.75, cache_write_hour=6.0)
    await log.streams.begin(request_id, Role.INSIGHT, 1, "token")
    await log.streams.close(request_id, Role.INSIGHT, 1, Closing("aborted", prompt, 2, is_on_span=False))
    task = LostUsageTask(request_id, "llm", "large", TokenCounts(), prices, 0, repeated)
    lost = await ActivityEnvironment().run(LostUsageActivities(log, ReportedUsage()).settle_lost_usage, task)
    assert lost.counts == billed + TokenCounts(discarded=2)
