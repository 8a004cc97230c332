"""OpenAI's completion from a result: text, usage. What OpenAI has no name for is in `tandem`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tandem.client.results import bill_lines, final_value, shown_text, to_dict
from tandem.client.tools import calls_as_data
from tandem.method.roles import LLM
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
    "answered_by",
)
_CUT = (
    "the answer was cut before its end: raise the request's cap of tokens or its budget, or the profile's "
    "execution.max_tokens"
)


def completion(
    result: tandem_pb2.SolveResult, request_id: str, created: int, metadata: Mapping[str, str], reasoning: str = ""
) -> dict[str, Any]:
    """The object `chat.completion`. `reasoning` is the insight, where it is known; `metadata` is repeated as it was
    given.
    """
    content = shown_text(result) or (None if result.tool_calls else "")
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if result.tool_calls:
        message["tool_calls"] = calls_as_data(result.tool_calls)
    if reasoning:
        message["reasoning_content"] = reasoning
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(result)}
    whole = {"choices": [choice], "usage": usage(result), "tandem": own_fields(result, metadata)}
    return completion_object("chat.completion", request_id, created, result.profile) | whole


def completion_object(kind: str, request_id: str, created: int, profile: str) -> dict[str, Any]:
    """`created` is Unix time in seconds."""
    return {"id": f"chatcmpl-{request_id}", "object": kind, "created": created, "model": profile}


def own_fields(result: tandem_pb2.SolveResult, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What OpenAI has no name for."""
    everything = to_dict(result)
    notes = [*result.notes, *([] if result.complete else [_CUT])]
    answer = {"answer": value} if (value := final_value(result)) else {}
    return {name: everything[name] for name in _SHOWN} | {"metadata": dict(metadata), "notes": notes} | answer


def finish_reason(result: tandem_pb2.SolveResult) -> str:
    if not result.complete:
        return "length"
    return "tool_calls" if result.tool_calls else "stop"


def usage(result: tandem_pb2.SolveResult) -> dict[str, Any]:
    """All tokens that were paid for: prompts of all models and of the scorer, and whatever a model generated.

    The large model's are reasoning, unless its text is the answer.
    """
    lines = bill_lines(result)
    cached = sum(line.usage.cached_input_tokens for line in lines)
    prompt = cached + sum(line.usage.input_tokens for line in lines)
    generated = sum(line.generated for line in lines)
    is_llms = result.answered_by == tandem_pb2.ROLE_LLM
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": sum(line.cache_writes for line in lines),
        },
        "completion_tokens_details": {
            "reasoning_tokens": 0 if is_llms else sum(line.generated for line in lines if line.role == LLM)
        },
        "cost": result.cost.usd if result.cost.HasField("usd") else None,
    }
