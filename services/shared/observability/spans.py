"""Spans of inferences and results: names and attributes after the GenAI conventions, and `tandem.*`.

Tokens and USD of each inference stand on its own leaf span. A request's totals stand on the root span only, under our
own prefix, so that sums over leaves never count a token twice. `gen_ai.usage.cost.*` is a proposal
(semantic-conventions-genai PR 443), not yet a convention.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace

from services.shared.observability import metrics
from services.shared.observability.tracing import tracer
from tandem.method.evidence.checks import CheckResult
from tandem.method.profile.prices import RolePrices
from tandem.method.request.result import SolveResult
from tandem.method.roles import LLM, SCORER
from tandem.method.tokens import TokenCounts

OWN = "tandem"
"""The provider of a model that a process of ours runs."""


@dataclass(frozen=True, slots=True)
class Inference:
    """The labels of a leaf span: model and role, request, attempt (from 1), and the prices of its tokens; whose API
    computes them, and at which host and port where that is known.
    """

    model: str
    role: str
    request_id: str
    attempt: int
    prices: RolePrices
    provider: str = OWN
    server: tuple[str, int | None] = ("", None)

    @property
    def kind(self) -> trace.SpanKind:
        return trace.SpanKind.INTERNAL if self.provider == OWN else trace.SpanKind.CLIENT


class InferenceSpan:
    """The leaf span `chat {model}` of one attempt, from the constructor to `end`.

    It is never the current span, because a stream's generator may be closed in another context than it was started in.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference, self._started_at = inference, time.time()
        attributes = {**_identity(inference, "chat"), "gen_ai.request.stream": True}
        self._span = tracer.start_span(f"chat {inference.model}", kind=inference.kind, attributes=attributes)

    def end(self, reason: str, first_token_at: float | None, counts: TokenCounts | None) -> None:
        """End the span. `first_token_at` is Unix time in seconds. `counts` are this attempt's tokens; None: another
        span reports them.
        """
        time_to_first_token = None if first_token_at is None else first_token_at - self._started_at
        trace_id = trace.format_trace_id(self._span.get_span_context().trace_id)
        error = "cancelled" if reason == "aborted" else None
        metrics.count_inference(
            _labels(self._inference), error or "", time.time() - self._started_at, time_to_first_token,
            counts.generated if counts else 0, trace_id,
        )  # fmt: skip
        set_attributes(
            self._span,
            {
                # The conventions know no other word for a response that was cut off; error.type says which it was.
                "gen_ai.response.finish_reasons": ["error" if error else reason],
                "error.type": error,
                "gen_ai.response.model": self._inference.model,
                "gen_ai.response.time_to_first_chunk": time_to_first_token,
                **(_usage(self._inference, counts) if counts else {}),
            },
        )
        self._span.end()


def report_discarded(inference: Inference, counts: TokenCounts) -> None:
    """Add a leaf span for tokens whose own process ended before it reported them; none if there are no such tokens."""
    if counts.computed:
        attributes = {**_identity(inference, "chat"), **_usage(inference, counts), "tandem.lost": True}
        tracer.start_span(f"chat {inference.model}", attributes=attributes).end()


def describe_prefill(span: trace.Span, inference: Inference, stage: int, counts: TokenCounts) -> None:
    """Set the attributes of a prefill: the small model computes the prompt of an answer that may be requested."""
    set_attributes(span, {**_identity(inference, "prefill"), **_usage(inference, counts), "tandem.stage": stage})


def describe_scoring(span: trace.Span, inference: Inference, stage: int, score: float, counts: TokenCounts) -> None:
    """Set the attributes of a scoring pass, which is an inference too: the small model prefills the prompt."""
    set_attributes(
        span,
        {
            **_identity(inference, "evaluate"),
            **_usage(inference, counts),
            "tandem.stage": stage,
            "gen_ai.evaluation.name": "sufficiency",
            "gen_ai.evaluation.score.value": score,
        },
    )


def describe_check(span: trace.Span, request_id: str, result: CheckResult) -> None:
    """Set the attributes of a check. Its detail is left out: it quotes the answer."""
    set_attributes(
        span,
        {
            "tandem.request.id": request_id,
            "tandem.check.name": result.name,
            "tandem.check.verdict": str(result.verdict),
            "tandem.check.score": result.score,
            "tandem.check.seconds": result.seconds,
        },
    )


def describe_result(span: trace.Span, result: SolveResult) -> None:
    """Set a request's totals."""
    set_attributes(span, {**_stop(result), **_tokens(result), **_cost(result)})


def set_attributes(span: trace.Span, attributes: Mapping[str, Any]) -> None:
    """Set the attributes whose value is not None."""
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})


def cost_bucket(usd: float | None) -> str:
    """Return the decade of a cost, such as "1e-5..1e-4": Jaeger finds attributes by equality only."""
    if usd is None:
        return "unknown"
    if usd <= 0:
        return "0"
    decade = math.floor(math.log10(usd))
    return f"1e{decade}..1e{decade + 1}"


def _identity(inference: Inference, operation: str) -> dict[str, Any]:
    host, port = inference.server
    server = {"server.address": host, **({"server.port": port} if port else {})} if host else {}
    return {
        **server,
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": inference.provider,
        "gen_ai.request.model": inference.model,
        "tandem.request.id": inference.request_id,
        "tandem.role": inference.role,
        "tandem.attempt": inference.attempt,
    }


def _labels(inference: Inference) -> dict[str, str]:
    """Return the labels of the metrics of a model server: the attributes of the span that identify no request, by the
    names that Prometheus gives them.
    """
    host, port = inference.server
    return {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": inference.provider,
        "gen_ai_request_model": inference.model,
        "gen_ai_response_model": inference.model,
        "server_address": host,
        "server_port": str(port) if host and port else "",
        "role": inference.role,
    }


def _usage(inference: Inference, counts: TokenCounts) -> dict[str, Any]:
    usd = inference.prices.usd(counts)
    cost = {
        "gen_ai.usage.cost.amount": usd,
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
    }
    return {
        "gen_ai.usage.input_tokens": counts.prompt,
        "gen_ai.usage.cache_read.input_tokens": counts.cached,
        "gen_ai.usage.cache_creation.input_tokens": counts.written + counts.written_hour,
        "gen_ai.usage.output_tokens": counts.generated,
        **({} if usd is None else cost),
    }


def _stop(result: SolveResult) -> dict[str, Any]:
    return {
        "tandem.request.id": result.request_id,
        "tandem.profile": result.profile,
        "tandem.stop.stage": result.stop.stage,
        "tandem.stop.reason": str(result.stop.reason),
        "tandem.stop.score": result.stop.score,
        "tandem.stop.threshold": result.stop.threshold,
        "tandem.cancel.latency_ms": result.timings_ms.cancel,
        "tandem.attempt": result.attempts,
    }


def _tokens(result: SolveResult) -> dict[str, Any]:
    usage = result.usage
    by_role = {role: counts.prompt if role == SCORER else counts.completion for role, counts in usage.items()}
    return {f"tandem.tokens.{role}": tokens for role, tokens in by_role.items()} | {
        "tandem.tokens.overrun": usage[LLM].overrun
    }


def _cost(result: SolveResult) -> dict[str, Any]:
    cost = result.cost
    return {
        "tandem.cost.total": cost.usd,
        **{f"tandem.cost.{role}": usd for role, usd in cost.usd_by_role.items()},
        "tandem.cost.llm_alone": cost.usd_llm_alone,
        "tandem.cost.saved": None if cost.saved_ratio is None else (cost.usd_llm_alone or 0.0) - (cost.usd or 0.0),
        "tandem.cost.overrun": cost.usd_overrun,
        "tandem.cost.bucket": cost_bucket(cost.usd),
        "tandem.cost.currency": "USD",
        "tandem.cost.tflops.paper": cost.tflops_paper,
        "tandem.cost.tflops.full": cost.tflops_full,
        "tandem.price.version": cost.price_version,
    }
