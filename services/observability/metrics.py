"""What Prometheus reads of a process, and the one place where it is counted.

Labels are bounded: models, roles, profiles, stages, reasons; never a request or a tenant. Exemplars lead to the trace.
A request's end is counted by the activity that tells it, once; nothing is counted in workflow code, which replays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import DropAggregation, View
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 120.0, 300.0)

REQUESTS = Counter("tandem_requests", "Requests that ended, by how.", ["profile", "reason"])
REQUEST_SECONDS = Histogram("tandem_request_duration_seconds", "Start to end.", ["profile"], buckets=_SLOW)
STOP_STAGE = Counter("tandem_stop_stage", "Where the answer came from.", ["profile", "stage", "reason"])
CANCEL_SECONDS = Histogram("tandem_cancel_latency_seconds", "Decision to the large model's halt.", buckets=_FAST)
DECISION_SECONDS = Histogram("tandem_decision_seconds", "Start to the decision.", ["profile"], buckets=_SLOW)
ANSWER_SECONDS = Histogram("tandem_first_answer_token_seconds", "Decision to the first answer token.", buckets=_SLOW)
SCORE = Histogram(
    "tandem_sufficiency_score", "Scores, by stage.", ["profile", "stage"], buckets=[i / 10 for i in range(1, 11)]
)
COST = Counter("tandem_cost_usd", "What requests have cost.", ["model", "role"])
COST_ALONE = Counter("tandem_cost_llm_alone_usd", "What the large model alone would have cost (estimate).", ["profile"])
TOKENS = Counter("tandem_tokens", "Billed tokens, by state.", ["model", "role", "state"])
OVERRUN = Counter("tandem_overrun_tokens", "Tokens that the large model wrote after the decision.", ["model"])
NOTES = Counter(
    "tandem_degraded_requests", "Requests whose result carries notes: something failed on the way.", ["profile"]
)
FIRST_TOKEN = Histogram(
    "gen_ai_server_time_to_first_token_seconds", "Attempt's start to its first token.", ["model", "role"], buckets=_SLOW
)
PER_TOKEN = Histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Mean over an attempt's later tokens.",
    ["model", "role"],
    buckets=_FAST,
)
INFERENCE_SECONDS = Histogram(
    "gen_ai_server_request_duration_seconds", "One attempt of a model.", ["model", "role"], buckets=_SLOW
)
STREAMS = Gauge("tandem_gateway_streams", "Solve streams that are being served.")
SHADOW_PAID = Counter("tandem_shadow_paid_usd", "What shadows were paid, on top of the requests' bills.", ["profile"])
SHADOW_ALONE = Counter(
    "tandem_shadow_llm_alone_usd", "What the large model alone cost, measured by shadows.", ["profile"]
)
SHADOW_SERVED = Counter("tandem_shadow_served_usd", "What the same requests cost as they were served.", ["profile"])
SHADOW_ESTIMATE = Counter("tandem_shadow_estimate_usd", "What the estimate said of them.", ["profile"])
SHADOW_REQUESTS = Counter("tandem_shadow_requests", "Requests that a shadow answered too.", ["profile", "agrees"])


class Countable(Protocol):
    """An engine, as far as its figures are concerned."""

    @property
    def counters(self) -> Any: ...

    @property
    def load(self) -> Any: ...


class EngineCollector(Collector):
    """An engine's own counters, whoever its tokens are billed to, and its load: what autoscaling goes by."""

    def __init__(self, engine: Countable, role: str) -> None:
        self._engine, self._role = engine, role

    def collect(self) -> Iterator[Metric]:
        counters, load = self._engine.counters, self._engine.load
        tokens = CounterMetricFamily(
            "tandem_engine_tokens", "Tokens computed since the start.", labels=["role", "kind"]
        )
        for kind in ("input", "output", "scored"):
            tokens.add_metric([self._role, kind], getattr(counters, f"{kind}_tokens"))
        yield tokens
        requests = GaugeMetricFamily("tandem_engine_requests", "Requests in the engine.", labels=["role", "state"])
        for state in ("running", "waiting"):
            requests.add_metric([self._role, state], getattr(load, state))
        yield requests


def watch_engine(engine: Countable, role: str) -> None:
    REGISTRY.register(EngineCollector(engine, role))


class Shifting(Protocol):
    """A scorer's drift (services.sufficiency_scorer.drift)."""

    @property
    def monitored(self) -> Sequence[str]: ...

    @property
    def requests(self) -> int: ...

    def shift(self) -> Any: ...


class DriftCollector(Collector):
    """How far the scorer's features lie from those it was trained on; nothing where it was not trained."""

    def __init__(self, drift: Shifting) -> None:
        self._drift = drift

    def collect(self) -> Iterator[Metric]:
        seen = GaugeMetricFamily("tandem_scorer_drift_requests", "Requests that the shift is the mean of.")
        seen.add_metric([], self._drift.requests)
        yield seen
        shift = GaugeMetricFamily(
            "tandem_scorer_feature_shift",
            "Mean distance from the feature's mean at training, in standard deviations.",
            labels=["feature"],
        )
        for feature, value in zip(self._drift.monitored, self._drift.shift(), strict=False):
            shift.add_metric([feature], float(value))
        yield shift


def watch_drift(drift: Shifting) -> None:
    REGISTRY.register(DriftCollector(drift))


def watch_telemetry() -> None:
    """The OpenTelemetry SDK's figures about itself: spans exported, failed, dropped (otel_sdk_*)."""
    keep = View(instrument_name="otel.sdk.*")
    drop = View(instrument_name="*", aggregation=DropAggregation())
    reader = PrometheusMetricReader(disable_target_info=True)
    set_meter_provider(MeterProvider(metric_readers=[reader], views=[keep, drop]))


def expose(host: str, port: int) -> None:
    """Serve /metrics on `port`; 0 serves none."""
    if port:
        start_http_server(port, addr=host)
        logger.info("metrics on port %d", port)


def count_inference(model: str, role: str, seconds: float, first_token: float | None, made: int, trace_id: str) -> None:
    """One attempt that ended: `first_token` seconds after its start, `made` tokens in all."""
    exemplar = _exemplar(trace_id)
    INFERENCE_SECONDS.labels(model, role).observe(seconds, exemplar)
    if first_token is not None:
        FIRST_TOKEN.labels(model, role).observe(first_token, exemplar)
        if made > 1:
            PER_TOKEN.labels(model, role).observe((seconds - first_token) / (made - 1), exemplar)


def count_result(result: Mapping[str, Any], failed: bool) -> None:
    """A request that ended (SolveResult as a dict)."""
    profile, stop, cost, timings = result["profile"], result["stop"], result["cost"], result["timings_ms"]
    exemplar = _exemplar(result["trace_id"])
    reason = "failed" if failed else str(stop["reason"])
    REQUESTS.labels(profile, reason).inc(exemplar=exemplar)
    STOP_STAGE.labels(profile, stop["stage"], reason).inc(exemplar=exemplar)
    REQUEST_SECONDS.labels(profile).observe(timings["total"] / 1000, exemplar)
    for histogram, name in ((DECISION_SECONDS.labels(profile), "decision"), (CANCEL_SECONDS, "cancel"),
                            (ANSWER_SECONDS, "first_answer_token")):  # fmt: skip
        if timings[name] is not None:
            histogram.observe(timings[name] / 1000, exemplar)
    for stage in result["stages"]:
        if stage["score"] is not None:
            SCORE.labels(profile, stage["stage"]).observe(stage["score"], exemplar)
    for role, usage in result["usage"].items():
        COST.labels(usage["model"], role).inc(cost["usd_by_role"][role], exemplar)
        for state in ("input", "cached_input", "output", "overrun", "discarded"):
            TOKENS.labels(usage["model"], role, state).inc(usage[f"{state}_tokens"])
    OVERRUN.labels(result["usage"]["llm"]["model"]).inc(result["usage"]["llm"]["overrun_tokens"], exemplar)
    COST_ALONE.labels(profile).inc(cost["usd_llm_alone"])
    if result["notes"]:
        NOTES.labels(profile).inc(exemplar=exemplar)


def count_shadow(profile: str, result: Mapping[str, Any]) -> None:
    """A request that the large model has answered alone too (ShadowResult as a dict)."""
    SHADOW_REQUESTS.labels(profile, str(result["agrees"]).lower()).inc()
    SHADOW_PAID.labels(profile).inc(result["usd_paid"])
    SHADOW_ALONE.labels(profile).inc(result["usd"])
    SHADOW_SERVED.labels(profile).inc(result["usd_served"])
    SHADOW_ESTIMATE.labels(profile).inc(result["usd_estimate"])


def _exemplar(trace_id: str) -> dict[str, str] | None:
    return {"trace_id": trace_id} if trace_id.strip("0") else None
