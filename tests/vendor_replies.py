"""A reply of a vendor in each of three protocols, with every field that its public documentation has, and some that
others add; and what of it a caller has not got.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Data = dict[str, Any]
CALL = {"id": "call_v", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}

CHAT_HEAD: Data = {
    "id": "chatcmpl-v", "object": "chat.completion.chunk", "created": 1, "model": "vendor-1",
    "service_tier": "priority", "system_fingerprint": "fp_1", "provider": "somebody",
}  # fmt: skip
CHAT_USAGE: Data = {
    "prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29, "cost_details": {"upstream": 1},
    "prompt_tokens_details": {"cached_tokens": 12, "audio_tokens": 3},
    "completion_tokens_details": {
        "reasoning_tokens": 4, "audio_tokens": 1, "accepted_prediction_tokens": 2, "rejected_prediction_tokens": 0
    },
    "server_tool_use": {"web_search_requests": 2},
}  # fmt: skip
LOGPROBS = {"content": [{"token": "I", "logprob": -0.1, "bytes": [73], "top_logprobs": []}], "refusal": None}


def _chunk(delta: Data, finished: str | None = None, **more: Any) -> Data:
    choice = {"index": 0, "delta": delta, "finish_reason": finished, **more}
    return {**CHAT_HEAD, "choices": [choice], "usage": None}


CHAT = [
    _chunk({"role": "assistant", "content": "", "refusal": None}),
    _chunk({"reasoning_content": "Hm."}),
    _chunk({"content": "I write."}, logprobs=LOGPROBS, matched_stop=None),
    _chunk({"annotations": [{"type": "url_citation", "url": "https://a"}]}),
    _chunk({"tool_calls": [{"index": 0, **CALL}]}),
    _chunk({}, "content_filter", native_finish_reason="safety"),
    {**CHAT_HEAD, "choices": [], "usage": CHAT_USAGE},
]
CHAT_WHOLE: Data = {
    **CHAT_HEAD,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0, "finish_reason": "content_filter", "logprobs": LOGPROBS, "native_finish_reason": "safety",
            "message": {
                "role": "assistant", "content": "I write.", "reasoning_content": "Hm.", "tool_calls": [CALL],
                "annotations": [{"type": "url_citation", "url": "https://a"}],
            },
        }
    ],
    "usage": CHAT_USAGE,
}  # fmt: skip

MESSAGE: Data = {
    "id": "msg_v", "type": "message", "role": "assistant", "model": "vendor-1", "content": [], "stop_reason": None,
    "stop_sequence": None, "container": {"id": "container_1", "expires_at": "2027-01-01T00:00:00Z"},
}  # fmt: skip
MESSAGE_READ = {
    "input_tokens": 5, "cache_read_input_tokens": 12, "cache_creation_input_tokens": 3, "service_tier": "standard",
    "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 1}, "inference_geo": "global",
}  # fmt: skip
MESSAGE_WRITTEN = {"output_tokens": 9, "server_tool_use": {"web_search_requests": 2}}
MESSAGES: list[Data] = [
    {"type": "message_start", "message": {**MESSAGE, "usage": {**MESSAGE_READ, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I write."}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "pause_turn", "stop_sequence": None},
        "usage": MESSAGE_WRITTEN,
        "context_management": {"applied_edits": []},
    },
    {"type": "message_stop"},
]
MESSAGE_WHOLE: Data = {
    **MESSAGE,
    "content": [{"type": "text", "text": "I write."}],
    "stop_reason": "pause_turn",
    "context_management": {"applied_edits": []},
    "usage": {**MESSAGE_READ, **MESSAGE_WRITTEN},
}

ITEM = {
    "type": "message", "id": "msg_v", "role": "assistant", "status": "completed", "phase": "final",
    "content": [{"type": "output_text", "text": "I write.", "annotations": [], "logprobs": []}],
}  # fmt: skip
RESPONSE: Data = {
    "id": "resp_v", "object": "response", "created_at": 1, "model": "vendor-1", "error": None,
    "incomplete_details": None, "service_tier": "priority", "reasoning": {"effort": "high", "summary": "detailed"},
    "temperature": 1.0, "top_p": 0.9, "store": False, "truncation": "auto", "safety_identifier": "s-1",
    "prompt_cache_key": "k", "top_logprobs": 0, "parallel_tool_calls": True, "tool_choice": "auto",
    "text": {"format": {"type": "text"}, "verbosity": "low"}, "billing": {"payer": "developer"}, "moderation": None,
    "frequency_penalty": 0.0, "presence_penalty": 0.0, "background": False, "max_tool_calls": 3,
    "previous_response_id": None,
}  # fmt: skip
RESPONSE_USAGE = {
    "input_tokens": 20, "output_tokens": 9, "total_tokens": 29,
    "input_tokens_details": {"cached_tokens": 12, "cache_write_tokens": 3},
    "output_tokens_details": {"reasoning_tokens": 4},
}  # fmt: skip
RESPONSES: list[Data] = [
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "usage": None}},
    {"type": "response.in_progress", "response": {**RESPONSE, "status": "in_progress", "usage": None}},
    {"type": "response.output_item.added", "output_index": 0, "item": {**ITEM, "content": []}},
    {"type": "response.output_text.delta", "output_index": 0, "item_id": "msg_v", "delta": "I write."},
    {"type": "response.output_item.done", "output_index": 0, "item": ITEM},
    {"type": "response.completed", "response": {**RESPONSE, "status": "completed", "usage": RESPONSE_USAGE}},
]
RESPONSE_WHOLE: Data = {**RESPONSE, "status": "completed", "output": [ITEM], "usage": RESPONSE_USAGE}

OWN = {"id", "created", "created_at", "model", "sequence_number", "obfuscation"}
"""Fields that are Tandem's own, in each protocol."""

VENDOR: dict[str, tuple[list[Data], Data]] = {
    "chat": (CHAT, CHAT_WHOLE),
    "messages": (MESSAGES, MESSAGE_WHOLE),
    "responses": (RESPONSES, RESPONSE_WHOLE),
}
"""By protocol, the events of a stream and the whole reply."""


def missing(sent: Any, got: Any, path: str = "") -> Iterator[str]:
    """Places of what the vendor sent that the caller has not got, or got otherwise. Null says nothing."""
    if isinstance(sent, dict) and isinstance(got, dict):
        for name, value in sent.items():
            if name not in OWN and value is not None:
                yield from missing(value, got.get(name), f"{path}.{name}")
    elif isinstance(sent, list) and isinstance(got, list) and len(sent) == len(got):
        for number, value in enumerate(sent):
            yield from missing(value, got[number], f"{path}[{number}]")
    elif sent != got:
        yield f"{path}: {sent!r}, not {got!r}"
