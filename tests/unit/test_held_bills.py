"""What a bill is held to: the most that is set aside before the request begins, whatever an API reports."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tandem.method.cost.allowance import TEMPLATE_TOKENS, allowance
from tandem.method.cost.bound import held_to, upper_bound
from tandem.method.cost.cost import cost
from tandem.method.profile.prices import RolePrices
from tandem.method.request.charge import Charge, nano_usd
from tandem.method.request.job import Job
from tandem.method.request.plan import Plan
from tandem.method.request.request import Budget, SolveRequest
from tandem.method.request.result import Stop, StopReason
from tandem.method.tokens import TokenCounts
from tests.planned import changed, used
from tests.unit.test_cost import PLAN
from workflows.request_state import RequestState

CACHED = RolePrices(3.0, 0.3, 15.0, cache_write=3.75, cache_write_hour=6.0, fees={"web_search": 0.01})
USES = {"web_search": 3}
API = changed(changed(PLAN, "llm", is_api=True, prices=CACHED), "slm", is_api=True)
PLANS = st.sampled_from([changed(PLAN, "llm", is_api=True, prices=CACHED), API, replace(API, stages=[])])
TOKENS = st.integers(0, 10**7)


def task(plan: Plan, most_prompt: int, budget: float | None, question: int = 10) -> Job:
    request = SolveRequest("r", "q", budget=Budget(budget))
    return Job(request, replace(plan, most_uses=USES), question, most_prompt=most_prompt)


@st.composite
def prompts(draw: st.DrawFn, most: int) -> TokenCounts:
    """Any counts of a prompt of at most `most` tokens."""
    prompt = draw(st.integers(0, most))
    written = draw(st.integers(0, prompt))
    hour = draw(st.integers(0, prompt - written))
    return TokenCounts(prompt, draw(st.integers(0, most - prompt)), written=written, written_hour=hour)


@given(PLANS, st.integers(200, 10**6), st.none() | st.floats(0.001, 1), st.data())
def test_whatever_apis_report_within_what_was_sent_their_bill_is_within_the_hold(
    plan: Plan, most: int, budget: float | None, data: st.DataObject
) -> None:
    given_task = task(plan, most, budget)
    allowed = allowance(plan, given_task.request.budget, given_task.question_tokens)
    written = data.draw(st.integers(0, allowed.llm_caps[-1] if allowed.llm_caps else 0))
    searched = TokenCounts(tool_uses={"web_search": data.draw(st.integers(0, USES["web_search"]))})
    llm = data.draw(prompts(most)) + searched if written else TokenCounts()
    read_by_slm = most if plan.slm.is_api else given_task.question_tokens + TEMPLATE_TOKENS
    slm = data.draw(prompts(read_by_slm + written)) + TokenCounts(
        completion=data.draw(st.integers(0, allowed.answer_tokens))
    )
    bill = held_to(used(llm + TokenCounts(completion=written), slm), plan, budget)
    assert nano_usd(cost(plan, bill, 10).usd) <= upper_bound(given_task).nano_usd


@given(PLANS, st.floats(0.000001, 1), TOKENS, TOKENS, TOKENS)
def test_a_bill_that_is_cut_is_at_most_the_limit_or_what_was_counted_piece_by_piece(
    plan: Plan, most: float, read: int, cached: int, completion: int
) -> None:
    llm = TokenCounts(read, cached, completion, written=read // 2, tool_uses={"web_search": read % 129})
    usage = used(llm, TokenCounts(completion=3))
    bill = held_to(usage, plan, most)
    counted = cost(plan, held_to(usage, plan, 0.0), 10).usd
    now, before = cost(plan, bill, 10).usd, cost(plan, usage, 10).usd
    assert now is not None
    assert counted is not None
    assert now <= max(most, counted) + 1e-12
    assert bill == usage or now < before  # type: ignore[operator]
    assert {role: counts.generated for role, counts in bill.items()} == {r: c.generated for r, c in usage.items()}
    assert all(counts.is_estimated for role, counts in bill.items() if counts != usage[role])


@given(TOKENS, st.floats(0.000001, 1))
def test_what_own_engines_counted_is_never_cut(read: int, most: float) -> None:
    usage = used(TokenCounts(read, completion=5), TokenCounts(read), TokenCounts(read))
    assert held_to(usage, PLAN, most) == usage


def result_of(given_task: Job, counts: TokenCounts):  # type: ignore[no-untyped-def]
    state = RequestState(given_task, datetime(2026, 1, 1, tzinfo=UTC))
    state.llm_counts = counts
    return state.result(Stop(0, StopReason.LLM_FINISHED), None, state.started_at)


def test_a_bill_beyond_budget_or_hold_is_cut_marked_and_noted_and_saves_nothing() -> None:
    counts = TokenCounts(2_000_000, completion=5)
    held = replace(task(API, 600, None), bound=Charge(20_000_000, 700))
    of_session = replace(held, bound=None, session_bound=held.bound)
    for limited in (task(API, 600, 0.02), held, of_session):
        result = result_of(limited, counts)
        assert result.cost.usd is not None
        assert result.cost.usd <= 0.02
        assert result.usage["llm"].is_estimated
        assert any(note.startswith("the bill is cut") for note in result.notes)
        assert result.cost.saved_ratio is None
    free = result_of(task(API, 600, None), counts)
    assert (free.usage["llm"], free.notes) == (counts, [])


def test_a_limit_of_tokens_a_minute_counts_what_is_likely_and_not_the_bytes() -> None:
    assert upper_bound(task(API, 10**6, None)).tokens == upper_bound(task(API, 0, None)).tokens
    assert upper_bound(task(API, 10**6, None)).nano_usd > upper_bound(task(API, 0, None)).nano_usd


def test_a_budget_pays_for_the_tools_that_the_vendor_may_run_before_the_large_model_is_asked() -> None:
    alone = replace(API, stages=[], llm_finishes=True)
    fees = sum(CACHED.fees[tool] * number for tool, number in USES.items())
    assert fees > 0
    for more, pays in ((0.0, False), (0.02, True)):
        asked = task(alone, 600, fees + more)
        assert (allowance(asked.plan, asked.request.budget, 10).finish is not None) is pays
