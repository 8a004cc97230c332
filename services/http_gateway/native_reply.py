"""What the large model's API sent, for a caller of the same protocol: event by event, or whole.

Its events come back as they came. Tandem's own are the id, the model's name and the time of creation, the order number
of an event, and the bill: what was paid counts every model (`with_paid`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

Data = dict[str, Any]
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
    """Anthropic's events of one message, without those that begin and end it."""

    def __init__(self) -> None:
        self._open: set[int] = set()  # blocks that have not ended
        self.message: Data = {}  # as the first event has it
        self.ended: Data = {}  # the last event, which says how the message ended
        self.is_used = False

    def push(self, events: Iterable[str]) -> list[Data]:
        """The events that are sent on."""
        return [event for text in events if self._is_sent(event := json.loads(text))]

    def last(self) -> list[Data]:
        """The ends of blocks that a limit cut."""
        return [{"type": "content_block_stop", "index": index} for index in sorted(self._open)]

    def usage(self, paid: Data) -> Data:
        """Of the whole message."""
        return with_paid({**self.message.get("usage", {}), **self.ended.get("usage", {})}, paid)

    def _is_sent(self, event: Data) -> bool:
        self.is_used = True
        match event["type"]:
            case "message_start":
                self.message = event["message"]
            case "message_delta":
                self.ended = event
            case "content_block_start":
                self._open.add(event.get("index", 0))
            case "content_block_stop":
                self._open.discard(event.get("index", 0))
        return not event["type"].startswith("message_")


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
    """Events of a response's items."""

    def __init__(self) -> None:
        self._items: dict[int, Data] = {}  # as far as they are known
        self._texts: dict[int, str] = {}  # texts and arguments of items that have not ended
        self.response: Data = {}  # as the newest event of the whole has it, without its items
        self.is_used = False

    def push(self, events: Iterable[str]) -> list[Data]:
        """The events that are sent on."""
        return [event for text in events if self._is_sent(event := json.loads(text))]

    def last(self) -> list[Data]:
        """The ends of items that a limit cut."""
        return [self._cut(index) for index in self._texts if index in self._items]

    @property
    def output(self) -> list[Data]:
        return [item for _, item in sorted(self._items.items())]

    def _is_sent(self, event: Data) -> bool:
        self.is_used = True
        if "response" in event:
            self.response = event["response"]
            return False
        index = event.get("output_index", 0)
        if item := event.get("item"):
            self._items[index] = item
        match event["type"]:
            case "response.output_item.added":
                self._texts[index] = ""
            case "response.output_item.done":
                self._texts.pop(index, None)
            case "response.output_text.delta" | "response.function_call_arguments.delta":
                self._texts[index] = self._texts.get(index, "") + event["delta"]
        return True

    def _cut(self, index: int) -> Data:
        item, text = self._items[index], self._texts[index]
        written: dict[str, Data] = {
            "message": {"content": [{"type": "output_text", "text": text, "annotations": []}]},
            "function_call": {"arguments": text},
        }
        self._items[index] = {**item, **written.get(item["type"], {}), "status": "incomplete"}
        return {"type": "response.output_item.done", "output_index": index, "item": self._items[index]}


class NativeChunks:
    """OpenAI's chunks of one message. How it ended is held: the bill comes with it."""

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

    def whole(self) -> Data:
        """The choice of a completion."""
        message: Data = {"role": "assistant", "content": None, **self._message}
        made: dict[int, Data] = {}
        for call in self._calls:
            _merge(made.setdefault(call.get("index", 0), {}), {k: v for k, v in call.items() if k != "index"})
        message |= {"tool_calls": [call for _, call in sorted(made.items())]} if made else {}
        return {**self._choice, **self.ended, "message": message}

    def usage(self, paid: Data) -> Data:
        return with_paid(self._usage, paid, "completion_tokens_details")

    def _pushed(self, chunk: Data) -> Data | None:
        """None of a chunk that says nothing but how the message ended, or what it cost."""
        self.is_used = True
        self._usage = chunk.pop("usage", None) or self._usage
        choices = chunk.pop("choices")
        self.about |= {name: value for name, value in chunk.items() if name != _PADDING}
        if not choices:
            return None
        choice = dict(choices[0])
        delta, ended = choice.pop("delta"), choice.pop("finish_reason", None)
        self._calls += delta.get("tool_calls") or ()
        rest = {name: value for name, value in delta.items() if name != "role" and value}
        _merge(self._message, {name: value for name, value in rest.items() if name != "tool_calls"})
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
