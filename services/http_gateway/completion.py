"""OpenAI's objects: completion, chunks, usage, models. What OpenAI has no name for is in `tandem`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.http_gateway.errors import HttpError
from tandem.live_text import Piece
from tandem.results import to_dict
from tandem.v1 import tandem_pb2

_SHOWN = (
    "request_id",
    "trace_id",
    "profile",
    "stop",
    "cost",
    "usage",
    "stages",
    "checks",
    "trials",
    "timings_ms",
    "notes",
)


@dataclass(frozen=True, slots=True)
class CompletionReply:
    """The objects of one request's reply. `metadata` is repeated as it was given."""

    request_id: str
    profile: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    include_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    end: bytes = b"data: [DONE]\n\n"

    def whole(self, result: tandem_pb2.SolveResult, reasoning: str) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": result.answer, "refusal": None, "annotations": []}
        if reasoning:
            message["reasoning_content"] = reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(result)}
        whole = {"choices": [choice], "usage": usage(result), "tandem": own_fields(result, self.metadata)}
        return self._object("chat.completion") | whole

    def first(self) -> list[dict[str, Any]]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def piece(self, piece: Piece) -> list[dict[str, Any]]:
        delta = {"reasoning_content": piece.reasoning, "content": piece.content}
        return [self._chunk({name: text for name, text in delta.items() if text})]

    def last(self, result: tandem_pb2.SolveResult) -> list[dict[str, Any]]:
        last = self._chunk({}, finish_reason(result)) | {"tandem": own_fields(result, self.metadata)}
        with_usage = self._object("chat.completion.chunk") | {"choices": [], "usage": usage(result)}
        return [last, with_usage] if self.include_usage else [last]

    def failure(self, error: HttpError) -> list[dict[str, Any]]:
        return [error.body]

    def _chunk(self, delta: dict[str, str], finished: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
        return self._object("chat.completion.chunk") | {"choices": [choice]}

    def _object(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self.request_id}", "object": kind, "created": self.created, "model": self.profile}


def own_fields(result: tandem_pb2.SolveResult, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What OpenAI has no name for."""
    everything = to_dict(result)
    return {name: everything[name] for name in _SHOWN} | {"metadata": dict(metadata)}


def finish_reason(result: tandem_pb2.SolveResult) -> str:
    return "stop" if result.complete else "length"


def usage(result: tandem_pb2.SolveResult) -> dict[str, Any]:
    """All tokens that were paid for: prompts of both models and of the scorer, and whatever either model generated.

    The large model's are reasoning, unless its text is the answer.
    """
    roles = [result.usage.llm, result.usage.slm, result.usage.scorer]
    cached = sum(role.cached_input_tokens for role in roles)
    prompt = cached + sum(role.input_tokens for role in roles)
    generated = [role.output_tokens + role.overrun_tokens + role.discarded_tokens for role in roles]
    is_llms = result.stop.reason == tandem_pb2.STOP_REASON_LLM_FINISHED
    return {
        "prompt_tokens": prompt,
        "completion_tokens": sum(generated),
        "total_tokens": prompt + sum(generated),
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": 0 if is_llms else generated[0]},
        "cost": result.cost.usd,
    }


def headers_of_result(result: tandem_pb2.SolveResult) -> dict[str, str]:
    reason = tandem_pb2.StopReason.Name(result.stop.reason).removeprefix("STOP_REASON_").lower()
    return {
        "x-tandem-cost-usd": f"{result.cost.usd:.10f}",
        "x-tandem-saved-ratio": f"{result.cost.saved_ratio:.4f}",
        "x-tandem-stop-stage": str(result.stop.stage),
        "x-tandem-stop-reason": reason,
    }


def model(profile: tandem_pb2.Profile) -> dict[str, Any]:
    return {"id": profile.name, "object": "model", "created": 0, "owned_by": "tandem", "tandem": to_dict(profile)}
