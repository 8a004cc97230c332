"""What replies of all three APIs say of a result: the tokens that were paid for, and in `tandem` what the vendors' APIs
have no name for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tandem.client.results import bill_lines, final_value, to_dict
from tandem.method.roles import LLM
from tandem.v1 import tandem_pb2

Data = dict[str, Any]
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


def own_fields(result: tandem_pb2.SolveResult, metadata: Mapping[str, str]) -> Data:
    """What the vendors' APIs have no name for; `metadata` is repeated as it was given."""
    everything = to_dict(result)
    notes = [*result.notes, *([] if result.complete else [_CUT])]
    answer = {"answer": value} if (value := final_value(result)) else {}
    return {name: everything[name] for name in _SHOWN} | {"metadata": dict(metadata), "notes": notes} | answer


def usage(result: tandem_pb2.SolveResult) -> Data:
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


def with_paid(reported: Mapping[str, Any], paid: Mapping[str, Any], kept: str = "") -> Data:
    """A usage as the API `reported` it, with the counts of all that was `paid`, of every model: where no other model
    has written, they are the API's own. `kept`: the details that only the API knows.
    """
    own = {name: value for name, value in paid.items() if name != kept or not reported.get(kept)}
    details = {
        name: {**reported[name], **value}
        for name, value in own.items()
        if isinstance(value, dict) and isinstance(reported.get(name), dict)
    }
    return {**reported, **own, **details}
