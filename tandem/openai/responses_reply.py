"""OpenAI's Responses, the way out: a response with a reasoning item for the insight and a message for the answer, the
events of a stream, and those that the large model's API itself has sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, TypeVar

from tandem.client.live_text import Piece
from tandem.client.results import shown_text
from tandem.openai.reply import ApiError, Data, Passed, Reply, own_fields, usage, with_paid
from tandem.v1 import tandem_pb2

E = TypeVar("E", bound=ApiError)
_REASONING, _MESSAGE = "reasoning", "message"
_PREFIXES = {_REASONING: "rs", _MESSAGE: "msg"}
# What a request cannot ask for here, as OpenAI writes that it was not asked for.
_NOT_ASKED: Data = {
    "background": False,
    "frequency_penalty": 0.0,
    "max_tool_calls": None,
    "presence_penalty": 0.0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "top_logprobs": 0,
    "truncation": "disabled",
}
# What a response here says itself, whatever the API's own says of the request as it reached that.
_OWN = frozenset(
    {"id", "object", "created_at", "completed_at", "status", "error", "model", "metadata", "max_output_tokens"}
)
_PARTS = {_REASONING: "reasoning_text", _MESSAGE: "output_text"}

# -- what the large model's API itself has sent -----------------------------------------------------------------------


class PassedItems(Passed):
    """Events of a response's items."""

    def __init__(self) -> None:
        self._items: dict[int, Data] = {}  # as far as they are known
        self._texts: dict[int, str] = {}  # texts and arguments of items that have not ended
        self.response: Data = {}  # as the newest event of the whole has it, without its items

    def last(self) -> list[Data]:
        """The ends of items that a limit cut."""
        return [self._cut(index) for index in self._texts if index in self._items]

    @property
    def output(self) -> list[Data]:
        return [item for _, item in sorted(self._items.items())]

    def _sent(self, event: Data) -> Data | None:
        if "response" in event:
            self.response = event["response"]
            return None
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
        return event

    def _cut(self, index: int) -> Data:
        item, text = self._items[index], self._texts[index]
        written: dict[str, Data] = {
            "message": {"content": [{"type": "output_text", "text": text, "annotations": []}]},
            "function_call": {"arguments": text},
        }
        self._items[index] = {**item, **written.get(item["type"], {}), "status": "incomplete"}
        return {"type": "response.output_item.done", "output_index": index, "item": self._items[index]}


# -- the reply --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Item:
    """One item of the output, as far as it is written."""

    kind: str
    id: str
    index: int
    text: str = ""

    def part(self, text: str) -> Data:
        more: Data = {"annotations": [], "logprobs": []} if self.kind == _MESSAGE else {}
        return {"type": _PARTS[self.kind], "text": text, **more}

    def as_data(self, status: str) -> Data:
        content = [] if status == "in_progress" else [self.part(self.text)]
        more: Data = {"role": "assistant"} if self.kind == _MESSAGE else {"summary": []}
        return {"id": self.id, "type": self.kind, "status": status, "content": content, **more}


@dataclass(slots=True)
class ResponsesReply(Reply):
    """The items stand in the order in which their first text came. `asked`: what a response repeats of its request.
    `namespaces`: of its functions in groups.
    """

    asked: Mapping[str, Any]
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    created: int = field(default_factory=lambda: int(time.time()))
    _items: dict[str, _Item] = field(default_factory=dict)
    _numbers: Any = field(default_factory=count)
    _calls: list[Data] = field(default_factory=list)
    _passed: PassedItems = field(default_factory=PassedItems)

    def whole(self, result: tandem_pb2.SolveResult, reasoning: str, native: Sequence[str] = ()) -> Data:
        self._passed.push(native)
        if self._passed.is_used:
            self._passed.last()
            return self._response(result)
        if reasoning:
            self._item(_REASONING).text = reasoning
        if result.answer or not result.tool_calls:
            self._item(_MESSAGE).text = shown_text(result)
        self._calls = self._call_items(result)
        return self._response(result)

    def _beginning(self) -> list[Data]:
        return [self._event(f"response.{name}", response=self._response()) for name in ("created", "in_progress")]

    def piece(self, piece: Piece) -> list[Data]:
        if piece.native or self._passed.is_used:
            sent = self._passed.push(piece.native)
            return [*self._begun(), *_numbered(sent, self._numbers)]
        return [*self._begun(), *self._delta(_REASONING, piece.reasoning), *self._delta(_MESSAGE, piece.content)]

    def last(self, result: tandem_pb2.SolveResult) -> list[Data]:
        name = "completed" if result.complete else "incomplete"
        begun = self._begun()
        if self._passed.is_used:
            ended = _numbered(self._passed.last(), self._numbers)
            return [*begun, *ended, self._event(f"response.{name}", response=self._response(result))]
        has_message = _MESSAGE in self._items or (result.tool_calls and not result.answer)
        opened = [] if has_message else self._opened(self._item(_MESSAGE))
        closed = [event for item in self._items.values() for event in self._closed(item, result)]
        self._calls = self._call_items(result)
        called = [event for call in enumerate(self._calls, len(self._items)) for event in self._called(*call)]
        return [*begun, *opened, *closed, *called, self._event(f"response.{name}", response=self._response(result))]

    def failure(self, error: ApiError) -> list[Data]:
        return [self._event("error", code=error.code, message=error.message, param=error.param)]

    def _call_items(self, result: tandem_pb2.SolveResult) -> list[Data]:
        return [
            {
                "type": "function_call",
                "id": f"fc_{self.request_id}_{index}",
                "call_id": call.id,
                **self._named(call.name),
                "arguments": call.arguments,
                "status": "completed",
            }
            for index, call in enumerate(result.tool_calls)
        ]

    def _named(self, known: str) -> Data:
        """A call's name, as the request has it."""
        namespace, name = self.namespaces.get(known, ("", known))
        return {"name": name, **({"namespace": namespace} if namespace else {})}

    def _called(self, index: int, item: Data) -> list[Data]:
        """The events of one call."""
        begun, place = (
            {**item, "arguments": "", "status": "in_progress"},
            {"item_id": item["id"], "output_index": index},
        )
        arguments, kind = item["arguments"], "response.function_call_arguments"
        return [
            self._event("response.output_item.added", output_index=index, item=begun),
            self._event(f"{kind}.delta", **place, delta=arguments),
            self._event(f"{kind}.done", **place, arguments=arguments, name=item["name"]),
            self._event("response.output_item.done", output_index=index, item=item),
        ]

    def _item(self, kind: str) -> _Item:
        if kind not in self._items:
            self._items[kind] = _Item(kind, f"{_PREFIXES[kind]}_{self.request_id}", len(self._items))
        return self._items[kind]

    def _delta(self, kind: str, text: str) -> list[Data]:
        if not text:
            return []
        opened = [] if kind in self._items else self._opened(self._item(kind))
        item = self._item(kind)
        item.text += text
        return [*opened, self._in_item(item, f"response.{_PARTS[kind]}.delta", delta=text, **_logprobs(item))]

    def _opened(self, item: _Item) -> list[Data]:
        added = self._event("response.output_item.added", output_index=item.index, item=item.as_data("in_progress"))
        return [added, self._in_item(item, "response.content_part.added", part=item.part(""))]

    def _closed(self, item: _Item, result: tandem_pb2.SolveResult) -> list[Data]:
        return [
            self._in_item(item, f"response.{_PARTS[item.kind]}.done", text=item.text, **_logprobs(item)),
            self._in_item(item, "response.content_part.done", part=item.part(item.text)),
            self._event("response.output_item.done", output_index=item.index, item=item.as_data(_status(result))),
        ]

    def _in_item(self, item: _Item, kind: str, **more: Any) -> Data:
        return self._event(kind, item_id=item.id, output_index=item.index, content_index=0, **more)

    def _event(self, kind: str, **more: Any) -> Data:
        return {"type": kind, "sequence_number": next(self._numbers), **more}

    def _response(self, result: tandem_pb2.SolveResult | None = None) -> Data:
        status = _status(result) if result else "in_progress"
        reported = {name: value for name, value in self._passed.response.items() if name not in _OWN}
        details = reported.pop("incomplete_details", None) or {"reason": "max_output_tokens"}
        counted = reported.pop("usage", None) or {}
        return {
            "id": f"resp_{self.request_id}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": details if status == "incomplete" else None,
            "model": self.profile,
            "output": self._passed.output or [*(i.as_data(status) for i in self._items.values()), *self._calls],
            "completed_at": int(time.time()) if result else None,
            **_NOT_ASKED,
            **self.asked,
            **reported,
            "usage": with_paid(counted, _usage(result), "output_tokens_details") if result else None,
            **({"tandem": own_fields(result, self.asked["metadata"])} if result else {}),
        }


def _numbered(events: list[Data], numbers: Iterator[int]) -> list[Data]:
    """The API's own, among those that are made here."""
    return [{**event, "sequence_number": next(numbers)} for event in events]


def _logprobs(item: _Item) -> Data:
    return {"logprobs": []} if item.kind == _MESSAGE else {}


def _status(result: tandem_pb2.SolveResult) -> str:
    return "completed" if result.complete else "incomplete"


def _usage(result: tandem_pb2.SolveResult) -> Data:
    counted = usage(result)
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": counted["prompt_tokens_details"],
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": counted["completion_tokens_details"],
        "total_tokens": counted["total_tokens"],
        "cost": counted["cost"],
    }


def with_own_names(error: E) -> E:
    """The error of a body of this API, whose fields have other names than those of chat completions."""
    names = {"messages": "input", "max_completion_tokens": "max_output_tokens", "response_format": "text.format"}
    first, dot, rest = (error.param or "").partition(".")
    root, bracket, index = first.partition("[")
    return replace(error, param=f"{names[root]}{bracket}{index}{dot}{rest}") if root in names else error
