"""A price that nobody knows is null on every bill, never 0."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from services.shared.observability.spans import Inference, cost_bucket
from services.shared.observability.spans import _usage as usage_attributes
from tandem.cli.bill import _bill
from tandem.cli.output import dollars
from tandem.client.results import to_dict
from tandem.convert.results import result_to_pb
from tandem.convert.values import prices_from_pb, prices_to_pb
from tandem.endpoints import price_list as price_list_module
from tandem.method.cost.bound import upper_bound
from tandem.method.cost.cost import cost
from tandem.method.errors import InvalidArgument
from tandem.method.profile.price_sections import parse_prices
from tandem.method.profile.prices import UNKNOWN, RolePrices, total
from tandem.method.request.charge import nano_usd
from tandem.method.request.job import Job
from tandem.method.request.request import SolveRequest
from tandem.method.request.result import Stop, StopReason
from tandem.method.tokens import TokenCounts
from tandem.openai.messages_reply import _usage as anthropic_usage
from tandem.openai.reply import usage as openai_usage
from tandem.v1 import execution_pb2, tandem_pb2
from tests.planned import changed, used
from tests.unit.test_convert import RESULT
from tests.unit.test_cost import PLAN
from workflows.request_state import RequestState

HALF_KNOWN = changed(PLAN, "llm", prices=UNKNOWN)
USAGE = used(llm=TokenCounts(10, 0, 20, 3), slm=TokenCounts(30, 0, 40), scorer=TokenCounts(50))


def test_what_a_model_without_a_price_wrote_costs_null_and_not_nothing() -> None:
    bill = cost(HALF_KNOWN, USAGE, 10)
    assert (bill.usd, bill.usd_by_role["llm"], bill.usd_llm_alone, bill.usd_overrun, bill.saved_ratio) == (None,) * 5
    assert bill.usd_by_role["slm"] == pytest.approx(110 / 1e6)


def test_a_model_without_a_price_that_was_not_used_leaves_the_bill_known() -> None:
    bill = cost(HALF_KNOWN, USAGE | {"llm": TokenCounts()}, 10)
    assert bill.usd == pytest.approx((110 + 50) / 1e6)
    assert (bill.usd_llm_alone, bill.saved_ratio) == (None, None)


def test_a_sum_with_an_unknown_amount_is_unknown() -> None:
    assert total(1.0, None) is None
    assert total(1.0, 2.0) == 3.0


def test_a_role_that_a_profile_names_no_price_of_has_none_and_the_scorer_has_the_small_models() -> None:
    prices = parse_prices({"version": "v", "slm": {"input": 1, "cached_input": 0.5, "output": 2}})
    assert prices.of("llm") == UNKNOWN
    assert prices.of("scorer") == prices.of("slm") == RolePrices(1, 0.5, 2)
    assert prices.unknown == ["llm"]


def test_what_a_vendor_puts_into_its_cache_has_a_price_of_its_own_and_without_one_the_inputs() -> None:
    read = TokenCounts(100, 50, 10, written=60, written_hour=30)
    known = RolePrices(4, 0.4, 20, cache_write=5, cache_write_hour=8)
    assert known.usd(read) == pytest.approx((10 * 4 + 60 * 5 + 30 * 8 + 50 * 0.4 + 10 * 20) / 1e6)
    assert (known.most_input, known.unpriced_writes(read)) == (8, 0)
    half = replace(known, cache_write_hour=None)
    assert half.usd(read) == pytest.approx((40 * 4 + 60 * 5 + 50 * 0.4 + 10 * 20) / 1e6)
    assert (half.most_input, half.unpriced_writes(read)) == (5, 30)


def test_a_bill_without_a_price_of_cache_writes_says_so() -> None:
    state = RequestState(Job(SolveRequest("r", "q"), PLAN, 7), datetime(2026, 1, 1, tzinfo=UTC))
    state.llm_counts = TokenCounts(100, written=60)
    (note,) = state.result(Stop(0, StopReason.CANCELLED), None, state.started_at).notes
    assert note.startswith("60 tokens that the large model's vendor put into its cache are billed at the input's price")


def test_the_shipped_list_knows_what_anthropics_caches_cost() -> None:
    listed = price_list_module.read(price_list_module.SHIPPED).find("claude-opus-4-7", "anthropic")
    assert listed is not None
    assert (listed.cached_input, listed.cache_write, listed.cache_write_hour) == (0.5, 6.25, 10)


def test_every_display_of_a_bill_has_what_was_put_into_a_cache() -> None:
    usage = USAGE | {"llm": TokenCounts(100, 50, 10, written=60, written_hour=30)}
    message = result_to_pb(replace(RESULT, usage=usage, cost=cost(PLAN, usage, 10)))
    assert openai_usage(message)["prompt_tokens_details"] == {"cached_tokens": 50, "cache_write_tokens": 90}
    told = anthropic_usage(message)
    assert told["cache_creation"] == {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 30}
    assert told["input_tokens"] + told["cache_creation_input_tokens"] == 100 + 30 + 50
    assert "100 prompt tokens (+50 cached, 90 put into the cache)" in str(_bill(message, to_dict(message), "")[0])
    span = usage_attributes(Inference("m", "llm", "r", 1, PLAN.llm.prices), usage["llm"])
    assert span["gen_ai.usage.cache_creation.input_tokens"] == 90
    assert usage["llm"].by_state | {"output": 0} == {
        "input": 10, "cached_input": 50, "cache_write": 60, "cache_write_hour": 30,
        "output": 0, "overrun": 0, "discarded": 0,
    }  # fmt: skip


def test_a_limit_in_usd_is_refused_where_a_price_is_not_known() -> None:
    with pytest.raises(InvalidArgument, match="no price of its llm") as refused:
        HALF_KNOWN.prices.require_known("budget.max_cost_usd")
    assert refused.value.reason == "PRICE_UNKNOWN"
    PLAN.prices.require_known("budget.max_cost_usd")


def test_on_the_wire_a_price_that_is_not_known_is_a_field_that_is_not_set() -> None:
    for prices in (UNKNOWN, RolePrices(1, 0.5, 2)):
        message = execution_pb2.PrefillRequest(prices=prices_to_pb(prices))
        assert message.HasField("prices") == prices.is_known
        assert prices_from_pb(message) == prices
    assert to_dict(tandem_pb2.ProfilePrices(llm=prices_to_pb(UNKNOWN)))["llm"] is None


def test_an_unknown_amount_is_null_in_json_and_absent_in_the_message() -> None:
    message = result_to_pb(replace(RESULT, cost=cost(HALF_KNOWN, USAGE, 10)))
    assert not message.cost.HasField("usd")
    assert to_dict(message)["cost"]["usd_by_role"] == {
        "llm": None,
        "slm": pytest.approx(110 / 1e6),
        "scorer": pytest.approx(50 / 1e6),
        "second_slm": 0.0,
    }
    assert openai_usage(message)["cost"] is None


def test_a_span_without_a_price_has_no_cost_and_a_bucket_of_its_own() -> None:
    attributes = usage_attributes(Inference("m", "llm", "r", 1, UNKNOWN), TokenCounts(3, 0, 4))
    assert attributes["gen_ai.usage.output_tokens"] == 4
    assert not any("cost" in name for name in attributes)
    assert cost_bucket(None) == "unknown"


def test_a_hold_on_an_account_leaves_out_what_has_no_price() -> None:
    task = SimpleNamespace(
        plan=HALF_KNOWN,
        request=SimpleNamespace(budget=SimpleNamespace(max_llm_tokens=None, max_cost_usd=None)),
        question_tokens=10,
        checks=[],
    )
    assert upper_bound(task).nano_usd == 0  # type: ignore[arg-type]
    assert upper_bound(task).tokens > 0  # type: ignore[arg-type]


def test_people_read_that_a_price_is_unknown() -> None:
    assert dollars(None) == "unknown price"
    assert dollars(0.5, 2) == "$0.50"


@pytest.mark.parametrize(
    ("usd", "nano"), [(0.1 + 0.2, 300_000_000), (0.3, 300_000_000), (3e-10, 1), (0.0, 0), (None, 0)]
)
def test_an_amount_is_rounded_up_but_not_by_the_last_digits_of_a_float(usd: float | None, nano: int) -> None:
    assert nano_usd(usd) == nano
