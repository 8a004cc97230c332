"""What the large model's API sent, for a caller of the same protocol: event by event, or whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from tandem.method.tools import STAYS, marked_id
from tandem.v1 import tandem_pb2

Data = dict[str, Any]


class NativeBlocks:
    """Anthropic's events of one message. From its first call on they are held: only the result says the calls' ids."""

    def __init__(self) -> None:
        self._held: list[Data] = []
        self._open: dict[int, str] = {}  # blocks that have not ended
        self.ended: Data = {}  # the last event, which says how the message ended
        self.is_used = False

    def push(self, events: Iterable[str]) -> list[Data]:
        """What can be sent on now."""
        return [event for text in events if (event := self._pushed(json.loads(text)))]

    def last(self, calls: Sequence[tandem_pb2.ToolCall]) -> list[Data]:
        """What was held, and the ends of blocks that a limit cut."""
        ids = iter(calls)
        for event in self._held:
            block = event.get("content_block", {})
            if block.get("type") == "tool_use" and (call := next(ids, None)) and call.id.startswith(STAYS):
                block["id"] = marked_id(block["id"])
        cut = [{"type": "content_block_stop", "index": index} for index in self._open]
        return [*self._held, *cut]

    def _pushed(self, event: Data) -> Data | None:
        self.is_used = True
        if event["type"] == "message_delta":
            self.ended = event
            return None
        index, block = event["index"], event.get("content_block", {})
        if event["type"] == "content_block_start":
            self._open[index] = block["type"]
        elif event["type"] == "content_block_stop":
            self._open.pop(index, None)
        if self._held or block.get("type") == "tool_use":
            self._held.append(event)
            return None
        return event


def blocks_of(events: Iterable[Data]) -> list[Data]:
    """The blocks that these events make, as a reply that is not streamed has them. One that was cut in its input is
    none.
    """
    blocks: dict[int, Data] = {}
    inputs: dict[int, str] = {}
    for event in events:
        index = event["index"]
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


class NativeChunks:
    """OpenAI's chunks of one message. Its calls are held: only the result says their ids."""

    def __init__(self) -> None:
        self._calls: list[Data] = []
        self.message: Data = {}
        self.is_used = False

    def push(self, events: Iterable[str]) -> list[Data]:
        """The deltas that can be sent on now."""
        return [delta for text in events if (delta := self._pushed(json.loads(text)))]

    def last(self, calls: Sequence[tandem_pb2.ToolCall]) -> list[Data]:
        marked = {number for number, call in enumerate(calls) if call.id.startswith(STAYS)}
        for call in self._calls:
            if call.get("id") and call.get("index", 0) in marked:
                call["id"] = marked_id(call["id"])
        return [{"tool_calls": [call]} for call in self._calls]

    def whole(self, calls: Sequence[tandem_pb2.ToolCall]) -> Data:
        message: Data = {"role": "assistant", "content": None, **self.message}
        made: dict[int, Data] = {}
        for delta in self.last(calls):
            call = delta["tool_calls"][0]
            _merge(made.setdefault(call.get("index", 0), {}), {k: v for k, v in call.items() if k != "index"})
        return message | ({"tool_calls": [call for _, call in sorted(made.items())]} if made else {})

    def _pushed(self, chunk: Data) -> Data:
        self.is_used = True
        delta: Data = next((choice["delta"] for choice in chunk["choices"]), {})
        self._calls += delta.get("tool_calls") or ()
        rest = {name: value for name, value in delta.items() if name not in ("tool_calls", "role") and value}
        _merge(self.message, rest)
        return rest


def _merge(whole: Data, delta: Data) -> None:
    """As OpenAI's clients put deltas together."""
    for name, value in delta.items():
        if name in ("id", "type") or name not in whole:
            whole[name] = value if not isinstance(value, dict) else dict(value)
        elif isinstance(value, dict):
            _merge(whole[name], value)
        elif isinstance(value, list):
            whole[name] = [*(whole[name] or ()), *value]
        elif isinstance(value, str):
            whole[name] = (whole[name] or "") + value
