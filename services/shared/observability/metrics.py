"""The Prometheus metrics of a process, all in one place.

Labels are bounded: models, roles, profiles, stages, reasons; never a request. Tenants are in tenant_metrics. Exemplars
link to the trace.
The activity that publishes a result counts it, once. Workflow code counts nothing, because it is replayed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.shared.observability.availability import SLOW, announce
from tandem.errors import SetupError
from tandem.method.request.result import SolveResult, StopReason
from tandem.method.roles import LLM, SLM

logger = logging.getLogger(__name__)
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

REQUESTS = Counter("tandem_requests", "Requests that ended, by reason.", ["profile", "reason"])
LLM_FAILED = Counter(
    "tandem_llm_failed_requests",
    "Requests that the large model failed, by what became of them: failed, or answered by a small one.",
    ["profile", "outcome"],
)
REQUEST_SECONDS = Histogram("tandem_request_duration_seconds", "From start to end.", ["profile"], buckets=SLOW)
STOP_STAGE = Counter("tandem_stop_stage", "Stage that the answer used, by reason.", ["profile", "stage", "reason"])
CANCEL_SECONDS = Histogram(
    "tandem_cancel_latency_seconds", "From the decision to the large model being stopped.", buckets=_FAST
)
DECISION_SECONDS = Histogram("tandem_decision_seconds", "From the start to the decision.", ["profile"], buckets=SLOW)
ANSWER_SECONDS = Histogram(
    "tandem_first_answer_token_seconds", "From the decision to the first answer token.", buckets=SLOW
)
SCORE = Histogram(
    "tandem_sufficiency_score", "Scores, by stage.", ["profile", "stage"], buckets=[i / 10 for i in range(1, 11)]
)
COST = Counter("tandem_cost_usd", "Cost of requests.", ["model", "role"])
UNPRICED = Counter("tandem_unpriced_requests", "Requests that used a model without a known price.", ["model", "role"])
COST_ANSWERED = Counter("tandem_cost_answered_usd", "Cost of the requests that got a complete answer.", ["profile"])
COST_ALONE = Counter(
    "tandem_cost_llm_alone_usd",
    "Cost of the large model alone, an estimate unless it has answered, for the requests that got a complete answer.",
    ["profile"],
)
TOKENS = Counter("tandem_tokens", "Billed tokens, by state.", ["model", "role", "state"])
UNAVAILABLE = Counter(
    "tandem_model_unavailable",
    "Attempts that no process of the model took: none can be reached, or their queues are full.",
    ["profile", "role"],
)
ACTIONS = Counter(
    "tandem_temporal_actions", "Temporal's billable actions of requests, without heartbeats.", ["profile"]
)
OVERRUN = Counter("tandem_overrun_tokens", "Tokens that the large model generated after the decision.", ["model"])
NOTES = Counter(
    "tandem_degraded_requests",
    "Requests whose result has notes: something failed, and the request was still answered.",
    ["profile"],
)
# Labels, names and buckets of the server's metrics are those of semantic-conventions-genai; `role` is ours.
_GEN_AI = (
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
    "gen_ai_response_model",
    "server_address",
    "server_port",
    "role",
)
FIRST_TOKEN = Histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "From an attempt's start to its first token.",
    _GEN_AI,
    buckets=(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
PER_TOKEN = Histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "Mean over an attempt's tokens after the first.",
    _GEN_AI,
    buckets=(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
INFERENCE_SECONDS = Histogram(
    "gen_ai_server_request_duration_seconds",
    "Duration of one attempt of a model.",
    (*_GEN_AI, "error_type"),
    buckets=tuple(0.01 * 2**step for step in range(14)),
)
STREAMS = Gauge("tandem_gateway_streams", "Open Solve streams.")
CHECKS = Counter("tandem_checks", "Checks of answers, by verdict.", ["check", "verdict"])
CHECK_SECONDS = Histogram(
    "tandem_check_duration_seconds",
    "Duration of a check, without the wait for a place.",
    ["check"],
    buckets=(*_FAST[3:], 5.0, 10.0),
)


class MeasuredEngine(Protocol):
    """What the metrics need of an engine (services.models.engine.api)."""

    @property
    def counters(self) -> Any: ...

    @property
    def load(self) -> Any: ...


class EngineCollector(Collector):
    """The engines' own token counters, billed or not, and their load, which autoscaling uses; by role."""

    def __init__(self, engines: Mapping[str, MeasuredEngine]) -> None:
        self._engines = engines

    def collect(self) -> Iterator[Metric]:
        tokens = CounterMetricFamily(
            "tandem_engine_tokens", "Tokens computed since the process started.", labels=["role", "kind"]
        )
        requests = GaugeMetricFamily("tandem_engine_requests", "Requests in the engine.", labels=["role", "state"])
        for role, engine in self._engines.items():
            for kind in ("input", "output", "scored"):
                tokens.add_metric([role, kind], getattr(engine.counters, f"{kind}_tokens"))
            for state in ("running", "waiting"):
                requests.add_metric([role, state], getattr(engine.load, state))
        yield from (tokens, requests)


def watch_engines(engines: Mapping[str, MeasuredEngine]) -> None:
    """Export the counters and the load of this process's engines, by role."""
    REGISTRY.register(EngineCollector(engines))


class MeasuredDrift(Protocol):
    """What the metrics need of a scorer's drift (services.sufficiency_scorer.stage_scorer)."""

    @property
    def monitored(self) -> Sequence[str]: ...

    @property
    def requests(self) -> int: ...

    def shift(self) -> Any: ...


class DriftCollector(Collector):
    """Distance of each profile's scorer's features from those of its training; no series for an untrained scorer."""

    def __init__(self, drifts: Mapping[str, MeasuredDrift]) -> None:
        self._drifts = drifts

    def collect(self) -> Iterator[Metric]:
        seen = GaugeMetricFamily(
            "tandem_scorer_drift_requests", "Requests in the mean of tandem_scorer_feature_shift.", labels=["profile"]
        )
        shift = GaugeMetricFamily(
            "tandem_scorer_feature_shift",
            "Mean distance from the feature's mean at training, in standard deviations.",
            labels=["profile", "feature"],
        )
        for profile, drift in self._drifts.items():
            if drift.monitored:
                seen.add_metric([profile], drift.requests)
            for feature, value in zip(drift.monitored, drift.shift(), strict=False):
                shift.add_metric([profile, feature], float(value))
        yield seen
        yield shift


def watch_drift(drifts: Mapping[str, MeasuredDrift]) -> None:
    """Export the drift of this process's scorers, by profile."""
    REGISTRY.register(DriftCollector(drifts))


def expose(host: str, port: int, process: str) -> None:
    """Serve /metrics of `process` on `port`; 0 serves none. Raises SetupError where it is taken."""
    announce(process)
    if port:
        try:
            start_http_server(port, addr=host)
        except OSError as error:
            raise SetupError(f"metrics: listening on {host}:{port} failed: {error.strerror}") from error
        logger.info("metrics on port %d", port)


def count_inference(
    labels: Mapping[str, str], error: str, seconds: float, first_token: float | None, generated: int, trace_id: str
) -> None:
    """Count an attempt that ended: seconds in all and to the first token, and generated tokens. `labels` are by the
    names of the conventions; `error` is empty where there was none.
    """
    exemplar = _exemplar(trace_id)
    INFERENCE_SECONDS.labels(**labels, error_type=error).observe(seconds, exemplar)
    if first_token is not None:
        FIRST_TOKEN.labels(**labels).observe(first_token, exemplar)
        if generated > 1:
            PER_TOKEN.labels(**labels).observe((seconds - first_token) / (generated - 1), exemplar)


def watch_availability(profile: str, further: Iterable[str] = ()) -> None:
    """Export the attempts that no process of a model took from 0 on: the first one must show in a rate. `further`:
    small models' roles.
    """
    for role in (LLM, SLM, *further):
        UNAVAILABLE.labels(profile, role)


def count_unavailable(profile: str, role: str) -> None:
    """Count an attempt that no process of the model took; a pool without pods is woken by it."""
    UNAVAILABLE.labels(profile, role).inc()


def count_check(name: str, verdict: str, seconds: float, trace_id: str) -> None:
    """Count a check that ended, whatever its verdict; `name` is a registered one."""
    exemplar = _exemplar(trace_id)
    CHECKS.labels(name, verdict).inc(exemplar=exemplar)
    CHECK_SECONDS.labels(name).observe(seconds, exemplar)


def count_result(result: SolveResult, *, failed: bool) -> None:
    """Count a request that ended; `failed`: without an answer."""
    exemplar = _exemplar(result.trace_id)
    reason = "failed" if failed else str(result.stop.reason)
    REQUESTS.labels(result.profile, reason).inc(exemplar=exemplar)
    if result.stop.reason is StopReason.LLM_UNAVAILABLE:
        LLM_FAILED.labels(result.profile, "failed" if failed else "answered").inc(exemplar=exemplar)
    STOP_STAGE.labels(result.profile, result.stop.stage, reason).inc(exemplar=exemplar)
    for stage in result.stages:
        if stage.score is not None:
            SCORE.labels(result.profile, stage.stage).observe(stage.score, exemplar)
    ACTIONS.labels(result.profile).inc(result.overhead.temporal_actions)
    if result.notes and not failed:
        NOTES.labels(result.profile).inc(exemplar=exemplar)
    _count_timings(result, exemplar)
    _count_usage(result, exemplar)


def _count_timings(result: SolveResult, exemplar: dict[str, str] | None) -> None:
    timings = result.timings_ms
    for histogram, milliseconds in (
        (REQUEST_SECONDS.labels(result.profile), timings.total),
        (DECISION_SECONDS.labels(result.profile), timings.decision),
        (CANCEL_SECONDS, timings.cancel),
        (ANSWER_SECONDS, timings.first_answer_token),
    ):
        if milliseconds is not None:
            histogram.observe(milliseconds / 1000, exemplar)


def _count_usage(result: SolveResult, exemplar: dict[str, str] | None) -> None:
    for role, counts in result.usage.items():
        model, usd = result.models[role], result.cost.usd_by_role[role]
        if usd is None:
            UNPRICED.labels(model, role).inc()
        else:
            COST.labels(model, role).inc(usd, exemplar)
        for state, tokens in counts.by_state.items():
            TOKENS.labels(model, role, state).inc(tokens)
    OVERRUN.labels(result.models[LLM]).inc(result.usage[LLM].overrun, exemplar)
    if result.cost.saved_ratio is not None:  # what one cost that was cancelled, failed or cut off is no saving
        COST_ANSWERED.labels(result.profile).inc(result.cost.usd or 0.0)
        COST_ALONE.labels(result.profile).inc(result.cost.usd_llm_alone or 0.0)


def _exemplar(trace_id: str) -> dict[str, str] | None:
    return {"trace_id": trace_id} if trace_id.strip("0") else None
