"""What requests have taught a promise is counted once in Redis, whoever counts, and begins anew as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import pytest_asyncio

from services.shared.request_log.learned import Learned, LearnedChange, Lesson
from tandem.method.promise.alarms import BLOCK, Block
from tandem.method.promise.rule import ArmCounts
from tandem.method.promise.standing import REFINES
from tandem.method.request.learning import ArmSeen, Seen
from tests.integration.request_logs import open_log

pytestmark = pytest.mark.asyncio(loop_scope="session")
TAKEN, DISPUTED, PASSED = ArmSeen(True, False, 0.9), ArmSeen(True, True, 0.9), ArmSeen(False, False, -0.1)


@pytest_asyncio.fixture(loop_scope="session")
async def learned(redis_url: str) -> AsyncIterator[Learned]:
    async with open_log(redis_url) as log:
        yield log.learned


@pytest.fixture
def lesson() -> Lesson:
    return Lesson(uuid4().hex, "pair", "tools", "a")


def seen(*arms: ArmSeen, answered: int = -1) -> Seen:
    return Seen("tools", 1.0, 0.1, answered, arms)


def change(what: str) -> LearnedChange:
    return LearnedChange(what, "tools", "two agree", "", 50, datetime.now(UTC))


async def test_a_sampled_request_counts_once(learned: Learned, lesson: Lesson) -> None:
    counted = await asyncio.gather(
        *(learned.sampled(lesson, 0, name, seen(PASSED, DISPUTED)) for name in ("one", "one", "two"))
    )
    assert sorted(counted) == [False, True, True]
    counts = (await learned.standing(lesson, 2)).counts
    assert (counts.sampled, counts.large, counts.beside) == (2, 2.0, 0.2)
    assert counts.arms == (ArmCounts(0, 0, 0, -0.2), ArmCounts(2, 2, 0, 1.8))


async def test_a_label_closes_a_dispute_once_in_each_arm_and_in_its_block(learned: Learned, lesson: Lesson) -> None:
    for number in range(BLOCK + 1):
        await learned.sampled(lesson, 0, str(number), seen(TAKEN, DISPUTED, answered=1))
    assert await learned.label(lesson, 0, "0", is_lost=True, who="operator") == "COUNTED"
    assert await learned.label(lesson, 0, "0", is_lost=True, who="operator") == "SAME"
    assert await learned.label(lesson, 0, "0", is_lost=False, who="operator") == "OTHER"
    assert await learned.label(lesson, 0, str(BLOCK), is_lost=False, who="operator") == "COUNTED"
    assert await learned.label(lesson, 0, "unknown", is_lost=False, who="operator") == "NONE"
    standing = await learned.standing(lesson, 2)
    assert standing.counts.arms[0] == ArmCounts(BLOCK + 1, 0, 0, pytest.approx(0.9 * (BLOCK + 1)))
    assert (standing.counts.arms[1].open, standing.counts.arms[1].lost) == (BLOCK - 1, 1)
    assert standing.blocks == (Block(BLOCK, BLOCK - 1, 1), Block(1, 0, 0))


async def test_a_session_or_a_question_is_sampled_once(learned: Learned, lesson: Lesson) -> None:
    found = [await learned.reserve(lesson, *new) for new in (("s1", "q1"), ("s1", "q2"), ("s2", "q1"), ("s2", "q2"))]
    assert found == [True, False, False, True]


async def test_what_is_shown_stays_shown_and_one_of_many_says_so(learned: Learned, lesson: Lesson) -> None:
    said = await asyncio.gather(*(learned.show(lesson, 0, 1, is_all=False, change=change("shown")) for _ in range(4)))
    assert sorted(said) == [False, False, False, True]
    assert not await learned.show(lesson, 0, 0, is_all=False, change=change("shown"))
    for name, arm in (("one", TAKEN), ("two", PASSED)):
        await learned.sampled(lesson, 0, name, seen(arm, arm))
    assert await learned.serve(lesson, 0, 0, change("serves"))
    assert not await learned.serve(lesson, 0, 0, change("serves"))
    standing = await learned.standing(lesson, 2)
    assert (standing.counts.shown, standing.serving, standing.usual, standing.usual_of) == (1, 0, 0.5, 2)
    assert [each.what for each in await learned.changes(lesson.tenant, lesson.profile)] == ["shown", "serves"]


async def test_a_kind_with_all_arms_shown_leaves_its_share_to_the_others(learned: Learned, lesson: Lesson) -> None:
    other = Lesson(lesson.tenant, lesson.profile, "answer", lesson.digest)
    await learned.show(lesson, 0, 2, is_all=True, change=change("shown"))
    assert (await learned.standing(other, 2)).counts.done == 1
    assert (await learned.standing(lesson, 2)).counts.done == 0
    await learned.close(lesson, 0, change("closed"))
    assert (await learned.standing(other, 2)).counts.done == 0


async def test_a_change_of_the_share_that_is_taken_adds_up(learned: Learned, lesson: Lesson) -> None:
    await learned.sampled(lesson, 0, "one", seen(PASSED, TAKEN))
    await learned.serve(lesson, 0, 1, change("serves"))
    for _ in range(3):
        cusum = await learned.served(lesson, 0, 1, True, (0.5, -1.0))
    assert cusum
    assert (cusum.above, cusum.below) == (1.5, 0.0)
    await learned.served(lesson, 0, 0, False, (0.0, 0.0))  # another arm was asked: its share is another one
    standing = await learned.standing(lesson, 2)
    assert (standing.cusum, standing.served, standing.answered) == (cusum, 3, 3)
    assert (standing.usual, standing.usual_now) == (1.0, 1.0)
    await learned.serve(lesson, 0, None, change("stops"))
    standing = await learned.standing(lesson, 2)
    assert (standing.serving, standing.served, standing.cusum.above) == (None, 0, 0)


async def test_the_first_requests_alone_refine_the_usual_share(learned: Learned, lesson: Lesson) -> None:
    await learned.serve(lesson, 0, 0, change("serves"))
    for number in range(REFINES + 10):
        await learned.served(lesson, 0, 0, number % 2 == 0, (0.0, 0.0))
    standing = await learned.standing(lesson, 1)
    assert (standing.served, standing.usual_now) == (REFINES, 0.5)


async def test_what_was_closed_begins_anew_and_late_words_count_for_nothing(learned: Learned, lesson: Lesson) -> None:
    await learned.sampled(lesson, 0, "one", seen(TAKEN, DISPUTED, answered=0))
    closed = await asyncio.gather(*(learned.close(lesson, 0, change("closed")) for _ in range(3)))
    assert closed.count(True) == 1
    assert not await learned.sampled(lesson, 0, "two", seen(TAKEN, TAKEN))
    assert await learned.label(lesson, 1, "one", is_lost=True, who="operator") == "OLD"
    assert await learned.served(lesson, 0, 0, True, (0.5, -1.0)) is None
    standing = await learned.standing(lesson, 2)
    assert (standing.epoch, standing.counts.sampled, standing.counts.offs) == (1, 0, 1)
    assert standing.serving is None


async def test_other_models_begin_anew_at_a_higher_level(learned: Learned, lesson: Lesson) -> None:
    """Each new beginning costs a part of the error, so that nobody can try until something is shown by chance."""
    digests = ("a", "b", "a", "c")
    found = [await learned.standing(Lesson(lesson.tenant, "pair", "tools", each), 2) for each in digests]
    assert [each.counts.offs for each in found] == [0, 1, 0, 2]
