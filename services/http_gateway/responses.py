"""The objects and events of OpenAI's responses: a reasoning item with the insight, and a message with the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from services.http_gateway import sse
from services.http_gateway.errors import HttpError
from services.http_gateway.native_reply import NativeItems, with_paid
from tandem.client.live_text import Piece
from tandem.client.results import shown_text
from tandem.openai import completion
from tandem.v1 import tandem_pb2

Data = dict[str, Any]
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
class ResponsesReply:
    """The items stand in the order in which their first text came. `asked`: what a response repeats of its request.
    `namespaces`: of its functions in groups. `is_passed`: the API's own events are expected, and the first of them
    begins the response.
    """

    request_id: str
    profile: str
    asked: Mapping[str, Any]
    namespaces: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    is_passed: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    end: bytes = b""
    ping: bytes = sse.PING
    _has_begun: bool = False
    _items: dict[str, _Item] = field(default_factory=dict)
    _numbers: Any = field(default_factory=count)
    _calls: list[Data] = field(default_factory=list)
    _native: NativeItems = field(default_factory=NativeItems)

    def whole(self, result: tandem_pb2.SolveResult, reasoning: str, native: Sequence[str] = ()) -> Data:
        self._native.push(native)
        if self._native.is_used:
            self._native.last()
            return self._response(result)
        if reasoning:
            self._item(_REASONING).text = reasoning
        if result.answer or not result.tool_calls:
            self._item(_MESSAGE).text = shown_text(result)
        self._calls = self._call_items(result)
        return self._response(result)

    def first(self) -> list[Data]:
        return [] if self.is_passed else self._begun()

    def _begun(self) -> list[Data]:
        """The first events, once."""
        if self._has_begun:
            return []
        self._has_begun = True
        return [self._event(f"response.{name}", response=self._response()) for name in ("created", "in_progress")]

    def piece(self, piece: Piece) -> list[Data]:
        if piece.native or self._native.is_used:
            sent = self._native.push(piece.native)
            return [*self._begun(), *_numbered(sent, self._numbers)]
        return [*self._begun(), *self._delta(_REASONING, piece.reasoning), *self._delta(_MESSAGE, piece.content)]

    def last(self, result: tandem_pb2.SolveResult) -> list[Data]:
        name = "completed" if result.complete else "incomplete"
        begun = self._begun()
        if self._native.is_used:
            ended = _numbered(self._native.last(), self._numbers)
            return [*begun, *ended, self._event(f"response.{name}", response=self._response(result))]
        has_message = _MESSAGE in self._items or (result.tool_calls and not result.answer)
        opened = [] if has_message else self._opened(self._item(_MESSAGE))
        closed = [event for item in self._items.values() for event in self._closed(item, result)]
        self._calls = self._call_items(result)
        called = [event for call in enumerate(self._calls, len(self._items)) for event in self._called(*call)]
        return [*begun, *opened, *closed, *called, self._event(f"response.{name}", response=self._response(result))]

    def failure(self, error: HttpError) -> list[Data]:
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
        reported = {name: value for name, value in self._native.response.items() if name not in _OWN}
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
            "output": self._native.output or [*(i.as_data(status) for i in self._items.values()), *self._calls],
            "completed_at": int(time.time()) if result else None,
            **_NOT_ASKED,
            **self.asked,
            **reported,
            "usage": with_paid(counted, _usage(result), "output_tokens_details") if result else None,
            **({"tandem": completion.own_fields(result, self.asked["metadata"])} if result else {}),
        }


def _numbered(events: list[Data], numbers: Iterator[int]) -> list[Data]:
    """The API's own, among those that are made here."""
    return [{**event, "sequence_number": next(numbers)} for event in events]


def _logprobs(item: _Item) -> Data:
    return {"logprobs": []} if item.kind == _MESSAGE else {}


def _status(result: tandem_pb2.SolveResult) -> str:
    return "completed" if result.complete else "incomplete"


def _usage(result: tandem_pb2.SolveResult) -> Data:
    counted = completion.usage(result)
    return {
        "input_tokens": counted["prompt_tokens"],
        "input_tokens_details": counted["prompt_tokens_details"],
        "output_tokens": counted["completion_tokens"],
        "output_tokens_details": counted["completion_tokens_details"],
        "total_tokens": counted["total_tokens"],
        "cost": counted["cost"],
    }
