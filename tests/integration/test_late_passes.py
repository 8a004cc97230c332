"""A scoring pass that Redis takes late, or whose reply is lost: it is on the bill once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from services.models.generation.late_writes import CountedPasses
from services.shared.request_log.ledger import Pass, Passes
from services.shared.request_log.log import RequestLog
from services.sufficiency_scorer.scorers import make_scorer
from services.sufficiency_scorer.stage_scorer import StageScorer
from tandem.method.errors import RequestLogUnavailable, Unavailable
from tandem.method.profile.profile import load_profile
from tandem.method.request.request import SolveRequest
from tandem.method.tokens import TokenCounts
from tandem.method.usage import total
from tests.fakes import ScriptedEngine
from tests.integration.lost_replies import lossy
from tests.integration.request_logs import fill, log_of_its_own, make_room, open_log

pytestmark = pytest.mark.asyncio(loop_scope="session")
_ONE = TokenCounts(prompt=16, cached=4)


@pytest_asyncio.fixture(loop_scope="session")
async def log(tmp_path: Path) -> AsyncIterator[RequestLog]:
    async with log_of_its_own(tmp_path) as log:
        yield log


def scorer_of(log: RequestLog, profiles_folder: Path) -> StageScorer:
    profile = load_profile("scripted", (profiles_folder,))
    return StageScorer(ScriptedEngine("scripted-slm"), log, profile, make_scorer(profile.stop.scorer, profile.folder))


async def passes_are(log: RequestLog, request_id: str, counts: TokenCounts) -> None:
    async with asyncio.timeout(30):
        while total(await log.ledger.all_passes(request_id, Pass.SCORER)) != counts:
            await asyncio.sleep(0.05)


async def test_passes_that_a_full_redis_does_not_take_are_returned_and_written_later(
    log: RequestLog, profiles_folder: Path
) -> None:
    scorer, request_id = scorer_of(log, profiles_folder), uuid4().hex
    logged = await scorer.score_stage(SolveRequest(request_id, "1 + 1?"), 0)
    await fill(log)
    first, second = [await scorer.score_stage(SolveRequest(request_id, "2 + 2?"), 0) for _ in range(2)]
    assert min(each.tokens.prompt + each.tokens.cached for each in (logged, first, second)) > 0
    assert first.request_tokens == logged.tokens + first.tokens
    assert second.request_tokens == first.request_tokens + second.tokens
    await make_room(log)
    await passes_are(log, request_id, second.request_tokens)
    third = await scorer.score_stage(SolveRequest(request_id, "3 + 3?"), 0)
    assert third.request_tokens == second.request_tokens + third.tokens


async def test_a_pass_whose_reply_is_lost_is_counted_once(redis_url: str) -> None:
    async with lossy(redis_url) as (cutter, url), open_log(url) as log:
        request_id = uuid4().hex
        cutter.lose("scorer:")
        assert await log.ledger.add_pass(request_id, Pass.SCORER, "first", _ONE) == {"first": _ONE}
        assert cutter.has_lost_all
        cutter.lose("scorer:", "scorer:")
        with pytest.raises(Unavailable):
            await log.ledger.add_pass(request_id, Pass.SCORER, "second", _ONE)
        assert await log.ledger.add_pass(request_id, Pass.SCORER, "second", _ONE) == {"first": _ONE, "second": _ONE}
        assert await log.ledger.all_passes(request_id, Pass.PREFILL) == {}


async def test_a_pass_that_redis_has_is_not_owed_where_its_replies_were_lost(
    redis_url: str, profiles_folder: Path
) -> None:
    async with lossy(redis_url) as (cutter, url), open_log(url) as log:
        scorer, request_id = scorer_of(log, profiles_folder), uuid4().hex
        cutter.lose("scorer:", "scorer:")
        first = await scorer.score_stage(SolveRequest(request_id, "1 + 1?"), 0)
        assert cutter.has_lost_all
        second = await scorer.score_stage(SolveRequest(request_id, "2 + 2?"), 0)
        assert second.request_tokens == first.tokens + second.tokens
        await passes_are(log, request_id, second.request_tokens)


async def test_a_pass_that_redis_takes_after_its_caller_gave_up_is_counted_once(
    log: RequestLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where Redis stands still: the write lies in its socket, and is there when the passes are read."""
    passes, request_id = CountedPasses(log.ledger, Pass.SCORER), uuid4().hex
    add_pass = log.ledger.add_pass

    async def add_late(*words: Any) -> Passes:
        await add_pass(*words)
        raise RequestLogUnavailable("no reply in time")

    monkeypatch.setattr(log.ledger, "add_pass", add_late)
    assert await passes.count(request_id, _ONE) == _ONE
    assert await passes.count(request_id, _ONE) == _ONE + _ONE
    monkeypatch.undo()
    assert await passes.count(request_id, _ONE) == _ONE + _ONE + _ONE
