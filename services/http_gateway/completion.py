"""The objects of a reply in OpenAI's chat format: completion, chunks, headers, models."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.http_gateway import sse
from services.http_gateway.errors import HttpError
from services.http_gateway.native_reply import NativeChunks
from tandem.client.live_text import Piece
from tandem.client.results import to_dict
from tandem.client.tools import calls_as_data
from tandem.method.rule.stop_rule import MEMBERS
from tandem.openai.completion import completion, completion_object, finish_reason, own_fields, usage
from tandem.v1 import tandem_pb2

_CHUNK = "chat.completion.chunk"
STOPGAP = "x-tandem-answered-by-small"
"""Header of a small model's answer in the place of a large one that failed."""


@dataclass(slots=True)
class CompletionReply:
    """The objects of one request's reply. `metadata` is repeated as it was given. `is_passed`: the API's own chunks are
    expected, and the first of them says what stands on each.
    """

    request_id: str
    profile: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    include_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    end: bytes = b"data: [DONE]\n\n"
    ping: bytes = sse.PING
    is_passed: bool = False
    _native: NativeChunks = field(default_factory=NativeChunks)
    _has_begun: bool = False

    def whole(self, result: tandem_pb2.SolveResult, reasoning: str, native: Sequence[str] = ()) -> dict[str, Any]:
        whole = completion(result, self.request_id, self.created, self.metadata, reasoning)
        self._native.push(native)
        if not self._native.is_used:
            return whole
        made, choice = self._native.whole(), whole["choices"][0]
        message = {**choice["message"], **made["message"]}
        whole["choices"] = [{**choice, **made, "message": message}]
        return {**self._native.about, **whole, "usage": self._native.usage(whole["usage"])}

    def first(self) -> list[dict[str, Any]]:
        return [] if self.is_passed else self._begun()

    def piece(self, piece: Piece) -> list[dict[str, Any]]:
        if piece.native or self._native.is_used:
            chunks = [{**chunk, **self._object()} for chunk in self._native.push(piece.native)]
            return [*self._begun(), *chunks]
        delta = {"reasoning_content": piece.reasoning, "content": piece.content}
        return [*self._begun(), self._chunk({name: text for name, text in delta.items() if text})]

    def last(self, result: tandem_pb2.SolveResult) -> list[dict[str, Any]]:
        calls = [] if self._native.is_used else [self._chunk(delta) for delta in _call_deltas(result)]
        last = self._chunk({}, finish_reason(result)) | {"tandem": own_fields(result, self.metadata)}
        last["choices"][0] |= self._native.ended
        paid = self._native.usage(usage(result))
        with_usage = {**self._native.about, **self._object(), "choices": [], "usage": paid}
        return [*self._begun(), *calls, last, *([with_usage] if self.include_usage else [])]

    def failure(self, error: HttpError) -> list[dict[str, Any]]:
        return [error.body]

    def _begun(self) -> list[dict[str, Any]]:
        """The first chunk, once."""
        if self._has_begun:
            return []
        self._has_begun = True
        return [self._chunk({"role": "assistant", "content": ""})]

    def _chunk(self, delta: dict[str, Any], finished: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
        return {**self._native.about, **self._object(), "choices": [choice]}

    def _object(self) -> dict[str, Any]:
        return completion_object(_CHUNK, self.request_id, self.created, self.profile)


def _call_deltas(result: tandem_pb2.SolveResult) -> Iterator[dict[str, Any]]:
    """Of each call first its id and name, then its arguments, as OpenAI's clients put them together."""
    for index, call in enumerate(calls_as_data(result.tool_calls)):
        begun = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield {"tool_calls": [{"index": index, **begun}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": call["function"]["arguments"]}}]}


def headers_of_result(result: tandem_pb2.SolveResult) -> dict[str, str]:
    reason = tandem_pb2.StopReason.Name(result.stop.reason).removeprefix("STOP_REASON_").lower()
    cost = {"x-tandem-cost-usd": f"{result.cost.usd:.10f}"} if result.cost.HasField("usd") else {}
    saved = {"x-tandem-saved-ratio": f"{result.cost.saved_ratio:.4f}"} if result.cost.HasField("saved_ratio") else {}
    return {
        **cost,
        **saved,
        **({STOPGAP: reason} if result.stop.reason == tandem_pb2.STOP_REASON_LLM_UNAVAILABLE else {}),
        "x-tandem-stop-stage": str(result.stop.stage),
        "x-tandem-stop-reason": reason,
    }


def models(profile: tandem_pb2.Profile) -> list[dict[str, Any]]:
    """The pair, and its large and its first small model by name."""
    listed = {"object": "model", "created": 0, "owned_by": "tandem"}
    names = [profile.name, *(f"{profile.name}/{member}" for member in MEMBERS)]
    return [{"id": name, **listed, "tandem": to_dict(profile)} for name in names]
