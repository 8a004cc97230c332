"""How many of an engine's tokens make one entry of the request log."""

from __future__ import annotations

import asyncio

import pytest

from services.insight_generator.generator import StageSplitter
from services.models.engine.api import Finished, FinishReason, Token
from services.models.generation import pending_deltas
from services.models.generation.attempt_log import WholeSplitter
from services.models.generation.pending_deltas import MOST_TOKENS, PendingDeltas
from tandem.method.tokens import TokenCounts


@pytest.fixture(autouse=True)
def _an_hour_between_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the clock makes nothing due, on a machine of any speed."""
    monkeypatch.setattr(pending_deltas, "HELD_SECONDS", 3600.0)
    return


def push(pending: PendingDeltas, text: str) -> None:
    for letter in text:
        pending.push(Token(ord(letter), letter, 0.0, None, None))


async def is_held(pending: PendingDeltas) -> bool:
    taking = asyncio.ensure_future(pending.take())
    for _ in range(3):
        await asyncio.sleep(0)
    return taking.cancel()


async def after_a_write(pending: PendingDeltas) -> PendingDeltas:
    pending._taken_at = asyncio.get_running_loop().time()
    return pending


async def test_a_token_after_a_pause_is_due_at_once() -> None:
    pending = PendingDeltas(WholeSplitter())
    pending._taken_at = -7200.0
    push(pending, "a")
    [delta] = await pending.take()
    assert delta.text == "a"


async def test_tokens_that_follow_a_write_closely_are_one_entry_of_a_few() -> None:
    pending = await after_a_write(PendingDeltas(WholeSplitter()))
    push(pending, "abcdef"[: MOST_TOKENS - 1])
    assert await is_held(pending)
    push(pending, "z")
    [delta] = await pending.take()
    assert (delta.text, len(delta.ids)) == ("abcdef"[: MOST_TOKENS - 1] + "z", MOST_TOKENS)


async def test_the_end_of_a_stage_is_due_at_once_and_ends_its_entry() -> None:
    pending = await after_a_write(PendingDeltas(StageSplitter((2, 9), ())))
    push(pending, "abc")
    deltas = await pending.take()
    assert [(delta.text, delta.stage) for delta in deltas] == [("ab", 1), ("c", 0)]


async def test_the_end_is_due_at_once_with_all_that_is_left() -> None:
    pending = await after_a_write(PendingDeltas(WholeSplitter()))
    push(pending, "ab")
    pending.finish(Finished(FinishReason.EOS, TokenCounts(), "!", 0.0))
    assert not pending.are_over
    [delta] = await pending.take()
    assert delta.text == "ab!"
    assert pending.are_over


async def test_an_error_of_the_engine_is_due_at_once() -> None:
    pending = await after_a_write(PendingDeltas(WholeSplitter()))
    push(pending, "a")
    pending.fail(RuntimeError("the engine has failed"))
    with pytest.raises(RuntimeError, match="has failed"):
        await pending.take()


async def test_a_token_is_not_held_longer_than_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending_deltas, "HELD_SECONDS", 0.001)
    pending = await after_a_write(PendingDeltas(WholeSplitter()))
    push(pending, "a")
    async with asyncio.timeout(60):
        assert await pending.take()
