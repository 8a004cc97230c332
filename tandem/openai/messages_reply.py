"""Anthropic's Messages, the way out: a message with a block for the answer's text and one for each call, the events of
a stream, and those that the large model's API itself has sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tandem.client.live_text import Piece
from tandem.client.results import bill_lines, shown_text
from tandem.openai.reply import ApiError, Data, Passed, Reply, own_fields, usage, with_paid
from tandem.v1 import tandem_pb2

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

# -- what the large model's API itself has sent -----------------------------------------------------------------------


class PassedBlocks(Passed):
    """Anthropic's events of one message, without those that begin and end it."""

    def __init__(self) -> None:
        self._open: set[int] = set()  # blocks that have not ended
        self.message: Data = {}  # as the first event has it
        self.ended: Data = {}  # the last event, which says how the message ended

    def last(self) -> list[Data]:
        """The ends of blocks that a limit cut."""
        return [{"type": "content_block_stop", "index": index} for index in sorted(self._open)]

    def usage(self, paid: Data) -> Data:
        """Of the whole message."""
        return with_paid({**self.message.get("usage", {}), **self.ended.get("usage", {})}, paid)

    def _sent(self, event: Data) -> Data | None:
        match event["type"]:
            case "message_start":
                self.message = event["message"]
            case "message_delta":
                self.ended = event
            case "content_block_start":
                self._open.add(event.get("index", 0))
            case "content_block_stop":
                self._open.discard(event.get("index", 0))
        return None if event["type"].startswith("message_") else event


def blocks_of(events: Iterable[Data]) -> list[Data]:
    """The blocks that these events make, as a reply that is not streamed has them. One that was cut in its input is
    none.
    """
    blocks: dict[int, Data] = {}
    inputs: dict[int, str] = {}
    for event in events:
        index = event.get("index", -1)
        if event["type"] == "content_block_start":
            blocks[index] = dict(event["content_block"])
        elif event["type"] == "content_block_delta":
            _add(blocks[index], event["delta"], inputs, index)
    for index, text in inputs.items():
        with suppress(ValueError):
            blocks[index]["input"] = json.loads(text or "{}")
            continue
        del blocks[index]
    return [block for _, block in sorted(blocks.items())]


def _add(block: Data, delta: Data, inputs: dict[int, str], index: int) -> None:
    if delta["type"] == "input_json_delta":
        inputs[index] = inputs.get(index, "") + delta["partial_json"]
    elif delta["type"] == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta["citation"]]
    else:
        for name in delta.keys() - {"type"}:
            block[name] = block.get(name, "") + delta[name]


# -- the reply --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class MessagesReply(Reply):
    """A block is opened by its first text. Which stop sequence ended a text is not known: it ends as one that ended by
    itself.
    """

    _is_open: bool = False
    _passed: PassedBlocks = field(default_factory=PassedBlocks)

    def whole(self, result: tandem_pb2.SolveResult, reasoning: str, native: Sequence[str] = ()) -> Data:
        sent = self._passed.push(native)
        if self._passed.is_used:
            blocks = blocks_of([*sent, *self._passed.last()])
            ended = self._ended(result)
            return {**self._message(), "content": blocks, **ended, "usage": self._passed.usage(ended["usage"])}
        text = [{"type": "text", "text": shown_text(result)}] if result.answer or not result.tool_calls else []
        return {
            **self._message(),
            "content": [*text, *(_call(call, json.loads(call.arguments)) for call in result.tool_calls)],
            "stop_reason": _stop_reason(result),
            **_paid(result),
        }

    @property
    def ping(self) -> Data | None:
        """Of this protocol a ping is an event, which some clients wait for."""
        return {"type": "ping"} if self._has_begun else None

    def piece(self, piece: Piece) -> list[Data]:
        """The insight has no place here."""
        if piece.native or self._passed.is_used:
            sent = self._passed.push(piece.native)
            return [*self._begun(), *sent]
        if not piece.content:
            return []
        delta = _delta(0, {"type": "text_delta", "text": piece.content})
        if self._is_open:
            return [delta]
        self._is_open = True
        return [*self._begun(), _start(0, {"type": "text", "text": ""}), delta]

    def last(self, result: tandem_pb2.SolveResult) -> list[Data]:
        if self._passed.is_used:
            ended = self._ended(result)
            delta = {name: ended.pop(name) for name in ("stop_reason", "stop_sequence")}
            last = {"type": "message_delta", "delta": {**self._passed.ended.get("delta", {}), **delta}, **ended}
            last["usage"] = with_paid(self._passed.ended.get("usage", {}), last["usage"])
            return [*self._begun(), *self._passed.last(), last, {"type": "message_stop"}]
        events = [*self._begun(), *([_stop(0)] if self._is_open else [])]
        for index, call in enumerate(result.tool_calls, int(self._is_open)):
            arguments = {"type": "input_json_delta", "partial_json": call.arguments}
            events += [_start(index, _call(call, {})), _delta(index, arguments), _stop(index)]
        ended = {"stop_reason": _stop_reason(result), "stop_sequence": None}
        return [*events, {"type": "message_delta", "delta": ended, **_paid(result)}, {"type": "message_stop"}]

    def failure(self, error: ApiError) -> list[Data]:
        return [error_body(error)]

    def _ended(self, result: tandem_pb2.SolveResult) -> Data:
        """How the API's own message ended, and what was paid for it here; cut by a limit of ours it has not ended."""
        delta = self._passed.ended.get("delta", {})
        more = {name: value for name, value in self._passed.ended.items() if name not in ("type", "delta", "usage")}
        ended = {"stop_reason": _stop_reason(result), "stop_sequence": None}
        return {**more, **{name: delta.get(name) or value for name, value in ended.items()}, **_paid(result)}

    def _beginning(self) -> list[Data]:
        return [{"type": "message_start", "message": self._message()}]

    def _message(self) -> Data:
        """With nothing in it yet, as the API has begun it."""
        return {
            "type": "message",
            "role": "assistant",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
            **self._passed.message,
            "content": [],
            "id": f"msg_{self.request_id}",
            "model": self.profile,
        }


def error_body(error: ApiError) -> Data:
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
    return {"usage": _usage(result), "tandem": own_fields(result, {})}


def _usage(result: tandem_pb2.SolveResult) -> Data:
    """All that was paid for, of both models. What came from a cache, or was put into one, is no input here."""
    counted = usage(result)
    cached, written = counted["prompt_tokens_details"].values()
    hour = sum(line.usage.cache_write_hour_tokens for line in bill_lines(result))
    return {
        "input_tokens": counted["prompt_tokens"] - cached - written,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour},
        "output_tokens": counted["completion_tokens"],
    }
