"""Spans of inferences and of a request's totals: token counts and what they cost."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace

from services.observability import metrics
from services.observability.tracing import set_attributes, tracer
from tandem.method.prices import RolePrices
from tandem.method.result import SolveResult
from tandem.method.tokens import TokenCounts


@dataclass(frozen=True, slots=True)
class Inference:
    """Whose tokens a leaf span tells: the model in its role, for which request, in which attempt, at what price."""

    model: str
    role: str
    request_id: str
    attempt: int
    prices: RolePrices


class InferenceSpan:
    """A leaf span `chat {model}` (GenAI conventions): what ONE attempt of a model read and made, and what that costs.

    `gen_ai.usage.cost.*` is a proposal (semantic-conventions-genai PR 443), not yet a convention. Never the current
    span: a stream's generator may be closed from another context than it was started in.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference, self._started_at = inference, time.time()
        self._span = tracer.start_span(f"chat {inference.model}", attributes=_identity(inference, "chat"))

    def end(self, reason: str, first_token_at: float | None, counts: TokenCounts | None) -> None:
        """`counts` is None where another span reports this attempt's tokens. Times are Unix seconds."""
        waited = None if first_token_at is None else first_token_at - self._started_at
        trace_id = trace.format_trace_id(self._span.get_span_context().trace_id)
        metrics.count_inference(
            self._inference.model, self._inference.role, time.time() - self._started_at, waited,
            counts.generated if counts else 0, trace_id,
        )  # fmt: skip
        set_attributes(
            self._span,
            {
                "gen_ai.response.finish_reasons": ["cancelled" if reason == "aborted" else reason],
                "gen_ai.response.time_to_first_chunk": waited,
                **(_usage(self._inference, counts) if counts else {}),
            },
        )
        self._span.end()


def report_discarded(inference: Inference, counts: TokenCounts) -> None:
    """A leaf span for tokens whose own process died before it could report them; nothing when there are none."""
    if counts.computed:
        attributes = {**_identity(inference, "chat"), **_usage(inference, counts), "tandem.lost": True}
        tracer.start_span(f"chat {inference.model}", attributes=attributes).end()


def describe_prefill(span: trace.Span, inference: Inference, stage: int, counts: TokenCounts) -> None:
    """The small model prefills the prompt of an answer that it may be asked for."""
    attributes = {**_identity(inference, "prefill"), **_usage(inference, counts), "tandem.stage": stage}
    set_attributes(span, attributes)


def describe_scoring(span: trace.Span, inference: Inference, stage: int, score: float, counts: TokenCounts) -> None:
    """A scoring pass is an inference too: the small model prefills the prompt."""
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


def describe_result(span: trace.Span, result: SolveResult) -> None:
    """A request's totals, under our own prefix only, so that sums over leaves never double."""
    stop, cost, usage = result.stop, result.cost, result.usage
    set_attributes(
        span,
        {
            "tandem.request.id": result.request_id,
            "tandem.profile": result.profile,
            "tandem.stop.stage": stop.stage,
            "tandem.stop.reason": str(stop.reason),
            "tandem.stop.score": stop.score,
            "tandem.stop.threshold": stop.threshold,
            "tandem.cancel.latency_ms": result.timings_ms.cancel,
            "tandem.tokens.llm": usage.llm.completion,
            "tandem.tokens.slm": usage.slm.completion,
            "tandem.tokens.scorer": usage.scorer.prompt,
            "tandem.tokens.overrun": usage.llm.overrun,
            "tandem.cost.total": cost.usd,
            "tandem.cost.llm": cost.usd_by_role.llm,
            "tandem.cost.slm": cost.usd_by_role.slm,
            "tandem.cost.scorer": cost.usd_by_role.scorer,
            "tandem.cost.llm_alone": cost.usd_llm_alone,
            "tandem.cost.saved": cost.usd_llm_alone - cost.usd,
            "tandem.cost.overrun": cost.usd_overrun,
            "tandem.cost.bucket": cost_bucket(cost.usd),
            "tandem.cost.currency": "USD",
            "tandem.cost.tflops.paper": cost.tflops_paper,
            "tandem.cost.tflops.full": cost.tflops_full,
            "tandem.price.version": cost.price_version,
            "tandem.attempt": result.attempts,
        },
    )


def cost_bucket(usd: float) -> str:
    """The decade that a cost lies in, as "1e-5..1e-4": Jaeger finds attributes by equality alone."""
    if usd <= 0:
        return "0"
    decade = math.floor(math.log10(usd))
    return f"1e{decade}..1e{decade + 1}"


def _identity(inference: Inference, operation: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "tandem",
        "gen_ai.request.model": inference.model,
        "tandem.request.id": inference.request_id,
        "tandem.role": inference.role,
        "tandem.attempt": inference.attempt,
    }


def _usage(inference: Inference, counts: TokenCounts) -> dict[str, Any]:
    return {
        "gen_ai.usage.input_tokens": counts.prompt,
        "gen_ai.usage.cache_read.input_tokens": counts.cached,
        "gen_ai.usage.output_tokens": counts.generated,
        "gen_ai.usage.cost.amount": inference.prices.usd(counts),
        "gen_ai.usage.cost.currency": "USD",
        "gen_ai.usage.cost.source": "local",
    }
