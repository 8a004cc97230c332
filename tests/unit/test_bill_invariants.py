"""What holds of every bill, however the request ends: drawn from what the models did, not from what a bill is made
of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from services.models.generation.role_generator import prompt_of
from services.shared.observability.spans import _cost as attributes_of
from services.shared.process.search_attributes import at_end
from tandem.cli.summary import not_compared
from tandem.convert.results import result_to_pb
from tandem.method.cost.cost import as_cached
from tandem.method.evidence.checks import Trial, Verdict
from tandem.method.names import SEARCH_ATTRIBUTES
from tandem.method.profile.prices import RolePrices, RoleRates
from tandem.method.profile.profile import load_profile
from tandem.method.request.job import Job
from tandem.method.request.plan import Plan, PlannedModel, StagePlan, make_plan
from tandem.method.request.request import SolveRequest
from tandem.method.request.result import SolveResult, Stop, StopReason
from tandem.method.request.tasks import GenerationOutcome, StageScore
from tandem.method.tokens import TokenCounts
from tests.planned import changed, pair
from tests.stacks import SCRIPTED_PROFILES
from workflows.request_state import RequestState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUESTION, PROMPT = 7, 20  # tokens of the question, and of the prompt that holds it
MEAN = 90.5  # tokens that the large model needs by itself, as the calibration says
OF_SLM = (
    StopReason.SUFFICIENT, StopReason.BEST_STAGE, StopReason.BUDGET, StopReason.LLM_UNAVAILABLE,
    StopReason.SCORER_FAILED_OPEN, StopReason.VERIFIED, StopReason.UNVERIFIED_BEST,
)  # fmt: skip
OF_LLM = (StopReason.LLM_FINISHED, StopReason.UNVERIFIED_BEST)
PRICES = st.builds(RolePrices, st.integers(1, 9), st.integers(0, 3), st.integers(1, 30))
PASSES = st.builds(TokenCounts, prompt=st.integers(0, 40), cached=st.integers(0, 40))


@dataclass(frozen=True)
class Written:
    """What a model wrote over all its attempts. `alone` is what its last attempt would have used, had it been the only
    one.
    """

    outcome: GenerationOutcome
    alone: TokenCounts
    num_lost: int


@dataclass(frozen=True)
class End:
    """A request that has ended. `llm`, `answer`: what either model wrote, where it came to an end of its own or was
    stopped.
    """

    state: RequestState
    stop: Stop
    result: SolveResult
    llm: Written | None
    answer: GenerationOutcome | None
    has_llm_answered: bool


@st.composite
def writing(draw: st.DrawFn, reasons: tuple[str, ...]) -> Written:
    """Attempts that were lost before or after their first token, and kept some of their text; and the last one."""
    counts, kept, num_lost = TokenCounts(), 0, draw(st.integers(0, 2))
    for _ in range(num_lost):
        written, cached = draw(st.integers(0, 12)), draw(st.integers(0, PROMPT))
        still_kept = kept + draw(st.integers(0, written))
        discarded = kept + written - still_kept
        counts += TokenCounts(prompt=PROMPT + kept - cached if written else 0, discarded=discarded)
        kept = still_kept
    cached = draw(st.integers(0, PROMPT + kept))
    reason, written = draw(st.sampled_from(reasons)), draw(st.integers(1, 60))
    overrun = draw(st.integers(0, written)) if reason == "aborted" else 0
    own = TokenCounts(prompt=PROMPT + kept - cached, cached=cached, completion=written - overrun, overrun=overrun)
    outcome = GenerationOutcome(
        reason, "text", counts + TokenCounts(completion=kept) + own, 2.0, 1.0, num_lost + 1, prompt=prompt_of(own, kept)
    )
    read = min(cached, PROMPT)
    return Written(outcome, TokenCounts(prompt=PROMPT - read, cached=read, completion=kept + written), num_lost)


@st.composite
def plans(draw: st.DrawFn, handoff: str) -> Plan:
    rate = draw(st.sampled_from([None, RoleRates(100.0, 1000.0, 10.0)]))
    large, small = PlannedModel("L", 3e9, draw(PRICES), rate), PlannedModel("S", 1e9, draw(PRICES), rate)
    models = pair(large, small, draw(PRICES))
    return Plan(
        profile="p", profile_digest="", handoff=handoff, price_version="v", models=models,
        stages=[StagePlan("one", 16, 0.8), StagePlan("two", 32, 0.8)], scores_stage_zero=True, stage_zero_threshold=0.8,
        answer_max_tokens=64, answer_format="whole", llm_alone_output_tokens=MEAN,
    )  # fmt: skip


@st.composite
def scores(draw: st.DrawFn) -> list[StageScore]:
    """Of some stages from the bare question on; a pass may have run twice, or its scorer may have failed."""
    found = []
    for stage in range(draw(st.integers(0, 3))):
        if stage == 0:
            cached = draw(st.integers(0, PROMPT))
            counts = TokenCounts(prompt=PROMPT - cached, cached=cached)
        else:
            counts = draw(PASSES)
        if draw(st.booleans()):
            found.append(StageScore(stage, score=0.5, scored=counts, all_scored=counts + draw(PASSES)))
        else:
            found.append(StageScore(stage))
    return found


@st.composite
def ends(draw: st.DrawFn) -> End:
    handoff = draw(st.sampled_from(["continuation", "continuation", "brief"]))
    plan = draw(plans(handoff))
    state = RequestState(Job(SolveRequest("r", "q"), plan, QUESTION), NOW)
    state.scores, state.prefills = draw(scores()), dict(enumerate(draw(st.lists(PASSES, max_size=2))))
    for number, tried in enumerate(draw(st.lists(writing(("eos", "length")), max_size=2)), 1):
        state.trials.append(Trial(number, 0, False, Verdict.FAIL, tried.outcome.counts, 0.0, 0.0))
        state.plain_prompt = tried.outcome.prompt
    kind = draw(
        st.sampled_from(
            ["slm", "slm", "llm", "llm", "cancelled", "failed"] if handoff == "continuation" else ["slm", "cancelled"]
        )
    )
    answer, llm, reason = None, None, draw(st.sampled_from(OF_SLM))
    if kind == "llm":
        llm, reason = draw(writing(("eos", "length"))), draw(st.sampled_from(OF_LLM))
        state.has_llm_answered = True
    else:
        llm = draw(st.none() | writing(("aborted", "length", "eos")))
        if llm is None and draw(st.booleans()):  # every attempt failed
            state.llm_counts = draw(PASSES) + TokenCounts(discarded=draw(st.integers(0, 50)))
        if kind != "failed" and (kind == "slm" or draw(st.booleans())):
            written = draw(writing(("eos", "length", "aborted")))
            answer, state.answer_counts = written.outcome, written.outcome.counts
        reason = StopReason.CANCELLED if kind == "cancelled" else reason
    if kind == "failed" and reason is StopReason.UNVERIFIED_BEST:
        reason = StopReason.BUDGET  # the large model's answer would be there
    if llm:
        state.insight, state.llm_counts = llm.outcome, llm.outcome.counts
    stop = Stop(0, reason)
    event(f"{kind}, {reason}")
    has_ended = llm is not None and llm.outcome.reason == "eos" and handoff == "continuation"
    return End(state, stop, state.result(stop, answer, NOW), llm, answer, kind == "llm" or has_ended)


every_end = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@every_end
@given(ends())
def test_a_bill_is_the_price_of_every_token_of_every_role(end: End) -> None:
    cost, usage, plan = end.result.cost, end.result.usage, end.state.plan
    assert cost.usd_by_role == {role: model.prices.usd(usage[role]) for role, model in plan.models.items()}
    assert cost.usd == sum(cost.usd_by_role.values())
    assert min(cost.usd_by_role.values()) >= 0
    assert 0 <= cost.usd_overrun <= cost.usd_by_role["llm"] + 1e-15
    tried = sum((trial.usage for trial in end.result.trials), TokenCounts())
    assert (usage["slm"].read, usage["slm"].generated) >= (tried.read, tried.generated)


@every_end
@given(ends())
def test_what_the_large_model_costs_alone_is_exact_where_it_has_answered(end: End) -> None:
    cost, plan = end.result.cost, end.state.plan
    assert cost.llm_alone_is_exact == end.has_llm_answered
    if end.has_llm_answered:
        assert end.llm is not None
        alone = end.llm.alone
        assert cost.usd_llm_alone == plan.llm.prices.usd(alone)
        assert cost.tflops_llm_alone == 2 * plan.llm.parameters * alone.computed / 1e12
        if plan.llm.rates:
            assert cost.seconds_llm_alone == plan.llm.rates.seconds(alone.prompt, alone.cached, alone.completion)


@every_end
@given(ends())
def test_an_estimate_reads_one_prompt_whatever_was_cached_retried_or_tried(end: End) -> None:
    if end.has_llm_answered:
        return
    prices = end.state.plan.llm.prices
    read = (end.result.cost.usd_llm_alone * 1e6 - MEAN * prices.output) / prices.input
    a_model_told = [s for s in end.state.scores[:1] if s.scored.read] or end.state.trials or end.llm
    assert read == pytest.approx(PROMPT if a_model_told else QUESTION)


@every_end
@given(ends())
def test_where_the_large_model_has_answered_only_other_work_is_a_loss(end: End) -> None:
    cost = end.result.cost
    if not end.has_llm_answered or cost.saved_ratio is None:
        return
    assert end.llm is not None
    besides = cost.usd_by_role["slm"] + cost.usd_by_role["scorer"]
    assert cost.saved_ratio <= 1e-12
    assert cost.usd - cost.usd_llm_alone == pytest.approx(
        besides + cost.usd_by_role["llm"] - cost.usd_llm_alone, abs=1e-15
    )
    if not end.llm.num_lost and not besides:
        assert cost.saved_ratio == 0
        assert cost.tflops_llm_alone == pytest.approx(cost.tflops_full)


@every_end
@given(ends())
def test_only_a_complete_answer_that_neither_limit_nor_failure_chose_has_saved_something_and_every_display_agrees(
    end: End,
) -> None:
    cost = end.result.cost
    limits = (StopReason.CANCELLED, StopReason.BUDGET, StopReason.LLM_UNAVAILABLE)
    is_whole = end.result.complete and end.stop.reason not in limits
    assert (cost.saved_ratio is not None) == is_whole
    if cost.saved_ratio is not None:
        assert cost.saved_ratio == 1 - cost.usd / cost.usd_llm_alone
        assert cost.saved_ratio <= 1
    told = result_to_pb(end.result).cost
    assert told.HasField("saved_ratio") == is_whole
    assert (not not_compared(result_to_pb(end.result))) == is_whole
    assert (attributes_of(end.result)["tandem.cost.saved"] is not None) == is_whole
    found = {update.key.name: update.value for update in at_end(end.result)}
    assert found[SEARCH_ATTRIBUTES["saved"]] == cost.saved_ratio


@every_end
@given(ends())
def test_an_answer_has_an_author_and_a_cut_one_is_not_complete(end: End) -> None:
    result = end.result
    assert bool(result.answered_by) == bool(result.answer)
    assert result.answered_by == ("slm" if end.answer else "llm" if end.state.has_llm_answered else "")
    last = end.answer or (end.llm.outcome if end.llm and end.state.has_llm_answered else None)
    if last is None or (last.reason != "eos" and end.stop.reason is not StopReason.VERIFIED):
        assert not result.complete


def test_the_prompt_of_a_resumed_answer_is_not_what_it_goes_on_from() -> None:
    assert prompt_of(TokenCounts(prompt=30, cached=10), kept=0) == TokenCounts(prompt=30, cached=10)
    assert prompt_of(TokenCounts(prompt=30, cached=10), kept=12) == TokenCounts(prompt=18, cached=10)
    assert prompt_of(TokenCounts(prompt=2, cached=38), kept=12) == TokenCounts(prompt=0, cached=28)
    assert prompt_of(TokenCounts(prompt=5), kept=12) == TokenCounts()


@pytest.mark.parametrize(
    ("apis", "is_estimated"), [([], (False, False)), (["llm"], (True, False)), (["slm"], (False, True))]
)
def test_what_a_lost_attempt_of_an_api_used_is_an_estimate_and_of_an_engine_of_ours_exact(
    apis: list[str], is_estimated: tuple[bool, bool]
) -> None:
    plan = make_plan(load_profile("scripted", (SCRIPTED_PROFILES,)))
    for role in apis:
        plan = changed(plan, role, is_api=True)
    state = RequestState(Job(SolveRequest("r", "q"), plan, QUESTION), NOW)
    state.llm_counts = TokenCounts(prompt=40, completion=5, discarded=2)
    state.answer_counts = TokenCounts(prompt=20, completion=3, discarded=1)
    usage = state.result(Stop(0, StopReason.LLM_FINISHED), None, NOW).usage
    assert (usage["llm"].is_estimated, usage["slm"].is_estimated) == is_estimated


@given(PRICES, st.integers(0, 3000), st.floats(0, 1))
def test_a_lost_prompt_costs_at_most_what_it_costs_uncached_and_with_a_limit_what_a_vendor_may_bill(
    prices: RolePrices, tokens: int, repeated: float
) -> None:
    prices = replace(prices, cached_input=min(prices.input, prices.cached_input), cache_write=4, cache_write_hour=6)
    uncached, dearest = prices.usd(TokenCounts(tokens)), prices.usd(prices.dearest(tokens))
    assert prices.usd(as_cached(tokens, repeated)) <= uncached <= dearest
    assert dearest == pytest.approx(tokens * prices.most_input / 1e6)
