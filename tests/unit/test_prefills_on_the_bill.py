"""Prefills that told nothing are on the bill by what the request log has of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from tandem.method.profile.profile import load_profile
from tandem.method.request.job import Job
from tandem.method.request.plan import make_plan
from tandem.method.request.request import SolveRequest
from tandem.method.request.result import Stop, StopReason
from tandem.method.request.tasks import Ahead, LoggedPrefills, StageScore
from tandem.method.tokens import TokenCounts
from tests.stacks import SCRIPTED_PROFILES
from tests.steps import asked
from workflows.calls import ActivityCalls
from workflows.request_state import RequestState
from workflows.small_model import SmallModel

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class _Log:
    """Stands for the activities: the request log has what is given, None where it does not answer."""

    def __init__(self, logged: LoggedPrefills | None) -> None:
        self.logged = logged

    async def locally(self, *_: Any, **__: Any) -> LoggedPrefills | None:
        return self.logged


async def _prompt_of_slm(told: int, logged: LoggedPrefills | None, logged_before: int = 0) -> tuple[int, list[str]]:
    """Prompt tokens of the small model's bill: the prefill of stage 0 told `told`, and that the log has them and those
    of `logged_before`, that of stage 1 nothing; and the notes.
    """
    plan = make_plan(load_profile("scripted", (SCRIPTED_PROFILES,)))
    state = RequestState(Job(SolveRequest("r", "q"), plan, 9), NOW)
    slm = SmallModel(state, cast(ActivityCalls, _Log(logged)), asked("r", "q").step)
    own, every = TokenCounts(prompt=told), TokenCounts(prompt=logged_before + told)
    slm.record_prefill(Ahead(0, plan.slm.prices), StageScore(1, ahead=own, all_ahead=every))
    slm.record_prefill(Ahead(1, plan.slm.prices), StageScore(2, is_reading=True))
    await slm.collect_prefills()
    result = state.result(Stop(2, StopReason.BEST_STAGE), None, NOW)
    return result.usage["slm"].prompt, result.notes


async def test_a_log_that_lost_the_first_prefill_still_tells_the_second() -> None:
    assert await _prompt_of_slm(145, LoggedPrefills({1: TokenCounts(prompt=16)})) == (161, [])


async def test_a_prefill_that_has_told_its_tokens_counts_once() -> None:
    logged = LoggedPrefills({0: TokenCounts(prompt=145), 1: TokenCounts(prompt=16)})
    assert await _prompt_of_slm(145, logged) == (161, [])


async def test_without_the_log_a_prefill_that_its_worker_knows_is_billed() -> None:
    logged = LoggedPrefills({1: TokenCounts(prompt=16)}, is_whole=False)
    assert await _prompt_of_slm(145, logged) == (161, [])


async def test_a_prefill_that_nobody_knows_of_makes_the_bill_a_lower_bound() -> None:
    told = {0: TokenCounts(prompt=145)}
    for logged in (None, LoggedPrefills(told), LoggedPrefills(told, is_whole=False)):
        prompt, notes = await _prompt_of_slm(145, logged)
        assert prompt == 145
        assert len(notes) == 1
        assert "lower bound" in notes[0]


async def test_a_later_prefill_tells_of_one_that_told_nothing_where_the_log_does_not_answer() -> None:
    prompt, notes = await _prompt_of_slm(16, None, logged_before=145)
    assert prompt == 161
    assert "lower bound" in notes[0]
