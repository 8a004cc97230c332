"""Dashboards and alerts query no series but those that are exported."""

from __future__ import annotations

import json
import re

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY, generate_latest

from services.shared.observability import availability, metrics, outcome_metrics, promise_metrics, tenant_metrics
from services.shared.observability.availability import Outcome
from services.shared.observability.spans import Inference, InferenceSpan
from services.shared.process import temporal_metrics
from tandem.method.profile.prices import RolePrices
from tandem.method.request.result import ShadowResult
from tandem.method.tokens import TokenCounts
from tandem.paths import REPOSITORY
from tests.fakes import ScriptedEngine
from tests.observed import TRACE_ID, Shifted, result

DEPLOY = REPOSITORY / "deploy"


def exported() -> set[str]:
    """Names of all series that our processes export."""
    metrics.count_result(result("every"), failed=False)
    metrics.LLM_FAILED.labels("every", "failed")
    shadow = ShadowResult("a", agrees=True, usd=1.0, usd_paid=1.0, usd_served=1.0, usd_estimate=1.0, output_tokens=1)
    outcome_metrics.count_shadow("every", shadow)
    promise_metrics.count_change("every", "tools", "closed")
    outcome_metrics.count_outcome("every", "code", "caller", "counted")
    metrics.count_check("every", "pass", 0.01, TRACE_ID)
    tenant_metrics.export_used_limits({("every", "usd_per_day"): 0.5})
    tenant_metrics.count_cost("every", 0.1)
    availability.count_http("every", 200, 0.1)
    availability.announce("every")
    availability.count_call("every", Outcome.ANSWERED, 1.0)
    availability.CERTIFICATE_END.labels("every").set(1)
    for gauge in temporal_metrics.GAUGES.values():
        gauge.labels("every", "every").set(1)
    for histogram in temporal_metrics.HISTOGRAMS.values():
        histogram.labels("every").observe(1)
    if "tandem_scorer_feature_shift" not in generate_latest(REGISTRY).decode():
        metrics.watch_drift({"mine": Shifted()})
    InferenceSpan(Inference("every", "llm", "r", 1, RolePrices())).end("eos", 1.0, TokenCounts(1, 0, 5))
    collector = metrics.EngineCollector({"llm": ScriptedEngine("every")})
    ours = {s.name for family in collector.collect() for s in family.samples}
    lines = generate_latest(REGISTRY).decode().splitlines()
    return ours | {re.split(r"[{ ]", line)[0] for line in lines if line and not line.startswith("#")}


def queries() -> list[tuple[str, str]]:
    dashboard = json.loads((DEPLOY / "dashboards" / "tandem.json").read_text())
    found = [(p["title"], t["expr"]) for p in dashboard["panels"] for t in p["targets"]]
    for group in yaml.safe_load((DEPLOY / "alerts" / "tandem.yaml").read_text())["groups"]:
        found += [(rule["alert"], rule["expr"]) for rule in group["rules"]]
    return found


def selectors(expression: str) -> set[str]:
    """Metric names in a PromQL expression; raises ValueError where it cannot be parsed."""
    found, waiting = set(), [promql_parser.parse(expression.replace("$__rate_interval", "5m"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
        for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
            if (child := getattr(node, name, None)) is not None:
                waiting.append(child)
        waiting += getattr(node, "args", None) or []
    return found


@pytest.mark.parametrize(("where", "expression"), queries())
def test_a_query_names_only_series_that_are_exported(where: str, expression: str) -> None:
    names = selectors(expression)
    assert names or expression == "vector(1)"
    # The SDK's own figures appear with its first span, vLLM's with its engine; tests/e2e sees the first on a real
    # process. Redis's are redis_exporter's.
    assert {n for n in names if not n.startswith(("otel_sdk_", "redis_", "vllm:"))} <= exported(), where


def test_every_query_of_the_dashboard_is_of_the_chosen_namespace() -> None:
    dashboard = json.loads((DEPLOY / "dashboards" / "tandem.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            named = target["expr"].count('namespace=~"$namespace"')
            assert named == len(
                re.findall(r"\b(?:tandem|temporal|gen_ai|vllm|redis|process)[_:]\w+", target["expr"])
            ), panel["title"]


def test_the_dashboard_shows_tenants_http_drift_and_what_vllm_says_of_itself() -> None:
    shown = {name for _, expression in queries() for name in selectors(expression)}
    assert shown >= {
        "tandem_tenant_cost_usd_total",
        "tandem_tenant_limit_used_ratio",
        "tandem_http_requests_total",
        "tandem_http_reply_seconds_bucket",
        "tandem_scorer_feature_shift",
        "vllm:kv_cache_usage_perc",
        "vllm:num_preemptions_total",
    }


def test_the_saved_share_is_that_of_answered_requests_wherever_it_is_shown() -> None:
    shares = [
        expression for _, expression in queries() if "tandem_cost_llm_alone_usd_total" in expression.partition("/")[2]
    ]
    assert len(shares) == 2  # an alert's and a panel's
    for share in shares:
        assert re.match(r"1 - sum( by \(namespace\) )?\(rate\(tandem_cost_answered_usd_total\b", share)
