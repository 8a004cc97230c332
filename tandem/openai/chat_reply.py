"""OpenAI's chat completions, the way out: a completion, the chunks of a stream, and those that the large model's API
itself has sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from tandem.client.live_text import Piece
from tandem.client.results import shown_text
from tandem.client.tools import calls_as_data
from tandem.openai.reply import ApiError, Data, Passed, Reply, own_fields, usage, with_paid
from tandem.v1 import tandem_pb2

_CHUNK = "chat.completion.chunk"
_PADDING = "obfuscation"  # of one chunk

# -- what the large model's API itself has sent -----------------------------------------------------------------------


class PassedChunks(Passed):
    """OpenAI's chunks of one message. How it ended is held: the bill comes with it."""

    def __init__(self) -> None:
        self._calls: list[Data] = []
        self._message: Data = {}
        self._choice: Data = {}  # beside the message
        self._usage: Data = {}
        self.about: Data = {}  # what chunks say beside their choices
        self.ended: Data = {}  # the choice that says how the message ended

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

    def _sent(self, chunk: Data) -> Data | None:
        """None of a chunk that says nothing but how the message ended, or what it cost."""
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


# -- the reply --------------------------------------------------------------------------------------------------------


def completion(
    result: tandem_pb2.SolveResult, request_id: str, created: int, metadata: Mapping[str, str], reasoning: str = ""
) -> Data:
    """The object `chat.completion`. `reasoning` is the insight, where it is known; `metadata` is repeated as it was
    given.
    """
    content = shown_text(result) or (None if result.tool_calls else "")
    message: Data = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    if result.tool_calls:
        message["tool_calls"] = calls_as_data(result.tool_calls)
    if reasoning:
        message["reasoning_content"] = reasoning
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(result)}
    whole = {"choices": [choice], "usage": usage(result), "tandem": own_fields(result, metadata)}
    return completion_object("chat.completion", request_id, created, result.profile) | whole


def completion_object(kind: str, request_id: str, created: int, profile: str) -> Data:
    """`created` is Unix time in seconds."""
    return {"id": f"chatcmpl-{request_id}", "object": kind, "created": created, "model": profile}


def finish_reason(result: tandem_pb2.SolveResult) -> str:
    if not result.complete:
        return "length"
    return "tool_calls" if result.tool_calls else "stop"


@dataclass(slots=True)
class ChatReply(Reply):
    """`metadata` is repeated as it was given. The first of the API's own chunks says what stands on each."""

    end: ClassVar[bytes] = b"data: [DONE]\n\n"
    metadata: Mapping[str, str] = field(default_factory=dict)
    include_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    _passed: PassedChunks = field(default_factory=PassedChunks)

    def whole(self, result: tandem_pb2.SolveResult, reasoning: str, native: Sequence[str] = ()) -> Data:
        whole = completion(result, self.request_id, self.created, self.metadata, reasoning)
        self._passed.push(native)
        if not self._passed.is_used:
            return whole
        made, choice = self._passed.whole(), whole["choices"][0]
        message = {**choice["message"], **made["message"]}
        whole["choices"] = [{**choice, **made, "message": message}]
        return {**self._passed.about, **whole, "usage": self._passed.usage(whole["usage"])}

    def piece(self, piece: Piece) -> list[Data]:
        if piece.native or self._passed.is_used:
            chunks = [{**chunk, **self._object()} for chunk in self._passed.push(piece.native)]
            return [*self._begun(), *chunks]
        delta = {"reasoning_content": piece.reasoning, "content": piece.content}
        return [*self._begun(), self._chunk({name: text for name, text in delta.items() if text})]

    def last(self, result: tandem_pb2.SolveResult) -> list[Data]:
        calls = [] if self._passed.is_used else [self._chunk(delta) for delta in _call_deltas(result)]
        last = self._chunk({}, finish_reason(result)) | {"tandem": own_fields(result, self.metadata)}
        last["choices"][0] |= self._passed.ended
        paid = self._passed.usage(usage(result))
        with_usage = {**self._passed.about, **self._object(), "choices": [], "usage": paid}
        return [*self._begun(), *calls, last, *([with_usage] if self.include_usage else [])]

    def failure(self, error: ApiError) -> list[Data]:
        return [error.body]

    def _beginning(self) -> list[Data]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def _chunk(self, delta: Data, finished: str | None = None) -> Data:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
        return {**self._passed.about, **self._object(), "choices": [choice]}

    def _object(self) -> Data:
        return completion_object(_CHUNK, self.request_id, self.created, self.profile)


def _call_deltas(result: tandem_pb2.SolveResult) -> Iterator[Data]:
    """Of each call first its id and name, then its arguments, as OpenAI's clients put them together."""
    for index, call in enumerate(calls_as_data(result.tool_calls)):
        begun = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
        yield {"tool_calls": [{"index": index, **begun}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": call["function"]["arguments"]}}]}
