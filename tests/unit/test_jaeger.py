from __future__ import annotations

from typing import Any

import pytest

from tandem.cli.trace import Grouping, _grouped
from tandem.tracing.jaeger import TraceError, fetch_trace, parse_trace


def raw(span: str, parent: str = "", **tags: Any) -> dict[str, Any]:
    references = [{"refType": "CHILD_OF", "spanID": parent}] if parent else []
    named = [{"key": key.replace("__", "."), "value": value} for key, value in tags.items()]
    return {
        "spanID": span,
        "operationName": f"op-{span}",
        "processID": "p1",
        "startTime": 1_000_000,
        "duration": 2_000,
        "references": references,
        "tags": named,
    }


def trace(*spans: dict[str, Any]) -> Any:
    return parse_trace({"traceID": "t", "processes": {"p1": {"serviceName": "tandem-worker"}}, "spans": list(spans)})


COST = "gen_ai__usage__cost__amount"


def test_the_leaves_are_summed_and_compared_with_the_total() -> None:
    found = trace(
        raw("a", tandem__cost__total=0.3), raw("b", "a", **{COST: 0.1}), raw("c", "a"), raw("d", "c", **{COST: 0.2})
    )
    assert found.leaf_usd == pytest.approx(0.3)
    assert found.adds_up
    [root] = found.roots
    assert [(depth, span.id) for depth, span in found.spans()] == [(0, "a"), (1, "b"), (1, "c"), (2, "d")]
    assert root.children[1].usd_below == pytest.approx(0.2)


def test_a_missing_or_doubled_leaf_is_seen() -> None:
    total, leaf = raw("a", tandem__cost__total=0.3), raw("b", "a", **{COST: 0.1})
    assert not trace(total, leaf).adds_up
    assert not trace(total, leaf, raw("c", "a", **{COST: 0.1}), raw("d", "a", **{COST: 0.2})).adds_up


def test_a_trace_without_a_total_does_not_add_up() -> None:
    assert not trace(raw("a"), raw("b", "a", **{COST: 0.1})).adds_up


def test_the_saved_share_of_a_group_leaves_out_requests_without_an_answer() -> None:
    answered = trace(raw("a", tandem__cost__total=0.3, tandem__cost__llm_alone=0.6, tandem__cost__saved=0.3))
    cancelled = trace(raw("a", tandem__cost__total=0.1, tandem__cost__llm_alone=0.6))
    [row] = _grouped([answered, cancelled, cancelled], Grouping.TENANT)
    assert (row["requests"], row["USD"], row["saved"]) == (3, pytest.approx(0.5), "+50%")


def test_a_jaeger_that_is_not_there_is_named() -> None:
    with pytest.raises(TraceError, match=r"127\.0\.0\.1:1"):
        fetch_trace("http://127.0.0.1:1", "0" * 32)
