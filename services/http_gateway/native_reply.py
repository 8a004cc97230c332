"""What the large model's API sent, for a caller of the same protocol: event by event, or whole.

Its events come back as they came. Tandem's own are the id, the model's name and the time of creation, the order number
of an event, and the bill: what was paid counts every model (`with_paid`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from tandem.method.tools import STAYS, marked_id
from tandem.v1 import tandem_pb2

Data = dict[str, Any]
_FUNCTION_CALL = "function_call"
_PADDING = "obfuscation"  # of one chunk


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


class NativeBlocks:
    """Anthropic's events of one message. From its first call on blocks are held: only the result says the calls'
    ids.
    """

    def __init__(self) -> None:
        self._held: list[Data] = []
        self._open: dict[int, str] = {}  # blocks that have not ended
        self._before = self._count = 0  # blocks of attempts that were lost, behind which the newest goes on; of all
        self.message: Data = {}  # as the first event has it
        self.ended: Data = {}  # the last event, which says how the message ended
        self.is_used = False

    def push(self, events: Iterable[str]) -> list[Data]:
        """What can be sent on now."""
        return [event for text in events for event in self._numbered(json.loads(text)) if self._is_due(event)]

    def last(self, calls: Sequence[tandem_pb2.ToolCall]) -> list[Data]:
        """What was held, and the ends of blocks that a limit cut."""
        ids = iter(calls)
        for event in self._held:
            block = event.get("content_block", {})
            if block.get("type") == "tool_use" and (call := next(ids, None)) and call.id.startswith(STAYS):
                block["id"] = marked_id(block["id"])
        return [*self._held, *map(_end, self._open)]

    def usage(self, paid: Data) -> Data:
        """Of the whole message."""
        return with_paid({**self.message.get("usage", {}), **self.ended.get("usage", {})}, paid)

    def _numbered(self, event: Data) -> list[Data]:
        """An attempt begins with block 0 again: the lost one's blocks end there, and a call that was cut is none."""
        self.is_used = True
        match event["type"]:
            case "message_start":
                self.message = event["message"]
                return []
            case "message_delta":
                self.ended = event
                return []
            case "message_stop":
                return []
        if "index" not in event:  # a ping
            return [event]
        ends: list[Data] = []
        if event["type"] == "content_block_start" and event["index"] + self._before < self._count:
            cut = {index for index, kind in self._open.items() if kind == "tool_use"}
            self._held = [held for held in self._held if held["index"] not in cut]
            ends = [_end(index) for index in self._open.keys() - cut]
            self._open, self._before = {}, self._count
        event["index"] += self._before
        self._count = max(self._count, event["index"] + 1)
        return [*ends, event]

    def _is_due(self, event: Data) -> bool:
        if "index" not in event:
            return True
        index, block = event["index"], event.get("content_block", {})
        if event["type"] == "content_block_start":
            self._open[index] = block["type"]
        elif event["type"] == "content_block_stop":
            self._open.pop(index, None)
        is_held = bool(self._held) or block.get("type") == "tool_use"
        if is_held:
            self._held.append(event)
        return not is_held


def _end(index: int) -> Data:
    return {"type": "content_block_stop", "index": index}


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


class NativeItems:
    """Events of a response's items. From its first call on they are held: only the result says the calls' ids."""

    def __init__(self) -> None:
        self._held: list[Data] = []
        self._items: dict[int, Data] = {}  # as far as they are known
        self._texts: dict[int, str] = {}  # of messages that have not ended
        self._before = 0  # items of attempts that were lost, behind which the newest goes on
        self.response: Data = {}  # as the newest event of the whole has it, without its items
        self.is_used = False

    def push(self, events: Iterable[str]) -> list[Data]:
        """What can be sent on now."""
        return [event for text in events if (event := self._pushed(json.loads(text)))]

    def last(self, calls: Sequence[tandem_pb2.ToolCall]) -> list[Data]:
        """What was held, and the ends of items that a limit cut."""
        functions = [index for index, item in sorted(self._items.items()) if item["type"] == _FUNCTION_CALL]
        marked = [index for index, call in zip(functions, calls, strict=False) if call.id.startswith(STAYS)]
        for item in [event["item"] for event in self._held if event.get("output_index") in marked and "item" in event]:
            item["call_id"] = marked_id(item.get("call_id", ""))
        for index in self._texts.keys() & set(functions):  # a call that was cut is none
            del self._texts[index], self._items[index]
        return [*self._held, *(self._cut(index) for index in self._texts if index in self._items)]

    @property
    def output(self) -> list[Data]:
        """The items, once `last` has named their calls."""
        return [item for _, item in sorted(self._items.items())]

    def _pushed(self, event: Data) -> Data | None:
        self.is_used = True
        if "response" in event:
            self.response = event["response"]
            return None
        if "output_index" not in event:
            return event
        is_new, item = event["type"] == "response.output_item.added", event.get("item")
        if is_new and event["output_index"] + self._before in self._items:
            self._before = max(self._items) + 1
        index = event["output_index"] = event["output_index"] + self._before
        if is_new:
            self._texts[index] = ""
        elif event["type"] == "response.output_item.done":
            self._texts.pop(index, None)
        elif event["type"] == "response.output_text.delta":
            self._texts[index] = self._texts.get(index, "") + event["delta"]
        if item:
            self._items[index] = item
        if self._held or (item and item["type"] == _FUNCTION_CALL):
            self._held.append(event)
            return None
        return event

    def _cut(self, index: int) -> Data:
        item = self._items[index]
        text = [{"type": "output_text", "text": self._texts[index], "annotations": []}]
        said = {"content": text} if item["type"] == "message" else {}
        self._items[index] = {**item, **said, "status": "incomplete"}
        return {"type": "response.output_item.done", "output_index": index, "item": self._items[index]}


class NativeChunks:
    """OpenAI's chunks of one message. Its calls are held: only the result says their ids; and so is how it ended."""

    def __init__(self) -> None:
        self._calls: list[Data] = []
        self._message: Data = {}
        self._choice: Data = {}  # beside the message
        self._usage: Data = {}
        self.about: Data = {}  # what chunks say beside their choices
        self.ended: Data = {}  # the choice that says how the message ended
        self.is_used = False

    def push(self, events: Iterable[str]) -> list[Data]:
        """The chunks that can be sent on now."""
        return [chunk for text in events if (chunk := self._pushed(json.loads(text)))]

    def last(self, calls: Sequence[tandem_pb2.ToolCall]) -> list[Data]:
        """The deltas of the calls."""
        marked = {number for number, call in enumerate(calls) if call.id.startswith(STAYS)}
        for call in self._calls:
            if call.get("id") and call.get("index", 0) in marked:
                call["id"] = marked_id(call["id"])
        return [{"tool_calls": [call]} for call in self._calls]

    def whole(self, calls: Sequence[tandem_pb2.ToolCall]) -> Data:
        """The choice of a completion."""
        message: Data = {"role": "assistant", "content": None, **self._message}
        made: dict[int, Data] = {}
        for delta in self.last(calls):
            call = delta["tool_calls"][0]
            _merge(made.setdefault(call.get("index", 0), {}), {k: v for k, v in call.items() if k != "index"})
        message |= {"tool_calls": [call for _, call in sorted(made.items())]} if made else {}
        return {**self._choice, **self.ended, "message": message}

    def usage(self, paid: Data) -> Data:
        return with_paid(self._usage, paid, "completion_tokens_details")

    def _pushed(self, chunk: Data) -> Data | None:
        """None of a chunk of which all is held."""
        self.is_used = True
        self._usage = chunk.pop("usage", None) or self._usage
        choices = chunk.pop("choices")
        self.about |= {name: value for name, value in chunk.items() if name != _PADDING}
        if not choices:
            return None
        choice = dict(choices[0])
        delta, ended = choice.pop("delta"), choice.pop("finish_reason", None)
        self._calls += delta.get("tool_calls") or ()
        rest = {name: value for name, value in delta.items() if name not in ("tool_calls", "role") and value}
        _merge(self._message, rest)
        _merge(self._choice, {name: value for name, value in choice.items() if value and name != "index"})
        if ended:
            self.ended = {name: value for name, value in choice.items() if name != "logprobs"}
            self.ended["finish_reason"] = ended
        if not rest and not choice.get("logprobs"):
            return None
        return {**chunk, "choices": [{**choice, "delta": rest, "finish_reason": None}]}


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
