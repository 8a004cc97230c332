"""The objects and events of Anthropic's messages: a block with the answer's text, and one for each call."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from services.http_gateway import sse
from services.http_gateway.errors import HttpError
from services.http_gateway.native_reply import NativeBlocks, blocks_of, with_paid
from tandem.client.live_text import Piece
from tandem.client.results import bill_lines, shown_text
from tandem.openai import completion
from tandem.v1 import tandem_pb2

Data = dict[str, Any]
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(slots=True)
class MessagesReply:
    """`is_passed`: the API's own events are expected, and the first of them begins the message, with what it has
    read. A block is opened by its first text. Which stop sequence ended a text is not known: it ends as one that
    ended by itself.
    """

    request_id: str
    profile: str
    is_passed: bool = False
    end: bytes = b""
    _has_begun: bool = False
    _is_open: bool = False
    _native: NativeBlocks = field(default_factory=NativeBlocks)

    def whole(self, result: tandem_pb2.SolveResult, reasoning: str, native: Sequence[str] = ()) -> Data:
        sent = self._native.push(native)
        if self._native.is_used:
            blocks = blocks_of([*sent, *self._native.last()])
            ended = self._ended(result)
            return {**self._message(), "content": blocks, **ended, "usage": self._native.usage(ended["usage"])}
        text = [{"type": "text", "text": shown_text(result)}] if result.answer or not result.tool_calls else []
        return {
            **self._message(),
            "content": [*text, *(_call(call, json.loads(call.arguments)) for call in result.tool_calls)],
            "stop_reason": _stop_reason(result),
            **_paid(result),
        }

    @property
    def ping(self) -> bytes:
        """Of this protocol a ping is an event, which some clients wait for."""
        return sse.event({"type": "ping"}) if self._has_begun else sse.PING

    def first(self) -> list[Data]:
        return [] if self.is_passed else self._begun()

    def piece(self, piece: Piece) -> list[Data]:
        """The insight has no place here."""
        if piece.native or self._native.is_used:
            sent = self._native.push(piece.native)
            return [*self._begun(), *sent]
        if not piece.content:
            return []
        delta = _delta(0, {"type": "text_delta", "text": piece.content})
        if self._is_open:
            return [delta]
        self._is_open = True
        return [*self._begun(), _start(0, {"type": "text", "text": ""}), delta]

    def last(self, result: tandem_pb2.SolveResult) -> list[Data]:
        if self._native.is_used:
            ended = self._ended(result)
            delta = {name: ended.pop(name) for name in ("stop_reason", "stop_sequence")}
            last = {"type": "message_delta", "delta": {**self._native.ended.get("delta", {}), **delta}, **ended}
            last["usage"] = with_paid(self._native.ended.get("usage", {}), last["usage"])
            return [*self._begun(), *self._native.last(), last, {"type": "message_stop"}]
        events = [*self._begun(), *([_stop(0)] if self._is_open else [])]
        for index, call in enumerate(result.tool_calls, int(self._is_open)):
            arguments = {"type": "input_json_delta", "partial_json": call.arguments}
            events += [_start(index, _call(call, {})), _delta(index, arguments), _stop(index)]
        ended = {"stop_reason": _stop_reason(result), "stop_sequence": None}
        return [*events, {"type": "message_delta", "delta": ended, **_paid(result)}, {"type": "message_stop"}]

    def failure(self, error: HttpError) -> list[Data]:
        return [error_body(error)]

    def _ended(self, result: tandem_pb2.SolveResult) -> Data:
        """How the API's own message ended, and what was paid for it here; cut by a limit of ours it has not ended."""
        delta = self._native.ended.get("delta", {})
        more = {name: value for name, value in self._native.ended.items() if name not in ("type", "delta", "usage")}
        ended = {"stop_reason": _stop_reason(result), "stop_sequence": None}
        return {**more, **{name: delta.get(name) or value for name, value in ended.items()}, **_paid(result)}

    def _begun(self) -> list[Data]:
        """The first event, once."""
        if self._has_begun:
            return []
        self._has_begun = True
        return [{"type": "message_start", "message": self._message()}]

    def _message(self) -> Data:
        """With nothing in it yet, as the API has begun it."""
        return {
            "type": "message",
            "role": "assistant",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
            **self._native.message,
            "content": [],
            "id": f"msg_{self.request_id}",
            "model": self.profile,
        }


def error_body(error: HttpError) -> Data:
    """An error in Anthropic's shape. One of a `thread` says so as Anthropic does: its clients then send the whole
    conversation.
    """
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    details = {"details": {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}}
    about = {"type": kind, "message": error.body["error"]["message"], **(details if error.param == "thread" else {})}
    return {"type": "error", "error": about}


def _call(call: tandem_pb2.ToolCall, arguments: Data) -> Data:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _start(index: int, block: Data) -> Data:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: int, delta: Data) -> Data:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _stop(index: int) -> Data:
    return {"type": "content_block_stop", "index": index}


def _stop_reason(result: tandem_pb2.SolveResult) -> str:
    if not result.complete:
        return "max_tokens"
    return "tool_use" if result.tool_calls else "end_turn"


def _paid(result: tandem_pb2.SolveResult) -> Data:
    return {"usage": _usage(result), "tandem": completion.own_fields(result, {})}


def _usage(result: tandem_pb2.SolveResult) -> Data:
    """All that was paid for, of both models. What came from a cache, or was put into one, is no input here."""
    counted = completion.usage(result)
    cached, written = counted["prompt_tokens_details"].values()
    hour = sum(line.usage.cache_write_hour_tokens for line in bill_lines(result))
    return {
        "input_tokens": counted["prompt_tokens"] - cached - written,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour},
        "output_tokens": counted["completion_tokens"],
    }
