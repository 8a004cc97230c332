"""Any API of OpenAI's Responses protocol as a Writer, through OpenAI's SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from services.models.engine.api import FinishReason, Token
from services.models.engine.call_format import Turn
from services.models.engine.remote.api_writer import CONTINUE, ApiWriter, settings_from
from services.models.engine.remote.events import Name, Part, TypedEvent, failed
from services.models.engine.remote.openai_writer import EFFORTS, CachedTokens, OpenAIDialect, tools_of
from services.models.engine.remote.reply import Reply
from services.models.engine.writer import Writing
from tandem.method.profile.endpoint import LEAST_OUTPUT_TOKENS
from tandem.method.tools import short_id

_TEXT, _CALL = ("response.output_text.delta", "response.refusal.delta"), "response.function_call_arguments.delta"
_ADDED, _ENDS = "response.output_item.added", ("response.completed", "response.incomplete")
_REPEATED = frozenset({"output", "instructions", "tools"})
_OWN_TOOLS = ("web_search", "file_search", "code_interpreter", "image_generation", "mcp")
_FAILURES = ("response.failed", "response.cancelled", "error")
_NEEDED = {
    **dict.fromkeys(_TEXT, ("delta",)),
    _CALL: ("output_index", "delta"),
    _ADDED: ("output_index", "item"),
    **dict.fromkeys(_ENDS, ("response",)),
}


class _Usage(Part):
    input_tokens: int
    output_tokens: int
    input_tokens_details: CachedTokens | None = None


class _Response(Part):
    model: Name | None = None
    usage: _Usage | None = None
    error: Any = None


class _Item(Part):
    type: Name
    name: Name | None = None
    namespace: Name | None = None

    @property
    def own_tool(self) -> str:
        """The tool that the API runs by itself; empty: none."""
        tool = self.type.removesuffix("_call")
        return tool if tool in _OWN_TOOLS and tool != self.type else ""

    @property
    def known_name(self) -> str:
        """As tandem.openai.responses_request offers the functions of a group."""
        return f"{self.namespace}__{self.name}" if self.namespace else self.name or ""


class _Event(TypedEvent):
    """platform.openai.com/docs/api-reference/responses-streaming; which fields are there follows from the type."""

    needed = _NEEDED
    output_index: int | None = None
    item: _Item | None = None
    delta: str | None = None
    response: _Response | None = None
    message: str | None = None


class _Responses(OpenAIDialect):
    name, event = "responses", _Event

    async def open(self, writing: Writing) -> Any:
        """The SDK's types know neither all that a caller sends nor all that a model takes."""
        most = max(LEAST_OUTPUT_TOKENS, writing.max_tokens)
        body = {"store": False, **self._body(writing), "max_output_tokens": most}
        return await self.client.responses.create(model=self.settings.asked, input=[], stream=True, extra_body=body)

    def _body(self, writing: Writing) -> dict[str, Any]:
        begun: Sequence[Turn]
        if writing.native is None:
            body, begun = _told(writing), [turn for turn in writing.messages()[-1:] if turn["role"] == "assistant"]
        else:
            body, begun = dict(writing.native), writing.begun
            said = body["input"]
            body["input"] = [*([{"role": "user", "content": said}] if isinstance(said, str) else said), *begun]
        if begun:  # no API of the protocol goes on from a turn that is begun
            body["input"].append({"role": "user", "content": CONTINUE})
        if not self.settings.can.takes_temperature:
            for name in ("temperature", "top_p"):
                body.pop(name, None)
        return body

    def read(self, event: _Event, reply: Reply) -> list[Token]:
        if event.type in _FAILURES:
            raise failed((event.response and event.response.error) or event.message)
        tokens: list[Token] = []
        if response := event.response:
            reply.model = response.model or reply.model
            if usage := response.usage:
                details = usage.input_tokens_details or CachedTokens()
                reply.report(details.of(usage.input_tokens), usage.output_tokens)
        if event.type == _ADDED and event.item and (tool := event.item.own_tool):
            reply.use(tool)
        if event.type in _ENDS:
            reply.reason = FinishReason.EOS if event.type == _ENDS[0] else FinishReason.LENGTH
        elif event.type in _TEXT:
            tokens = reply.add(event.delta or "")
        elif event.type == _CALL:
            tokens = reply.call(event.output_index or 0, arguments=event.delta or "")
        elif event.type == _ADDED and event.item and event.item.type == "function_call":
            tokens = reply.call(event.output_index or 0, event.item.known_name)
        elif event.delta:  # of a thought, its summary, or a tool of the API's own
            tokens = reply.think()
        return tokens

    def shown(self, event: _Event, data: bytes) -> str:
        """The events of a whole response repeat what was asked, and its items."""
        if event.response is None:
            return data.decode()
        whole = json.loads(data)
        whole["response"] = {name: value for name, value in whole["response"].items() if name not in _REPEATED}
        return json.dumps(whole, ensure_ascii=False)


class ResponsesWriter(ApiWriter):
    dialect = _Responses


def _told(writing: Writing) -> dict[str, Any]:
    """What was read of the conversation, in this protocol. It has no seed, and no stop strings: what follows one is cut
    here.
    """
    turns, said = writing.messages(), writing.sampling.said
    tools = tools_of(writing.tools)
    if tools:  # a function that does not say so is strict
        tools["tools"] = [{"type": "function", "strict": False, **tool["function"]} for tool in tools["tools"]]
    body: dict[str, Any] = {
        "input": [item for turn in turns if turn["role"] != "system" for item in _items(turn)],
        **tools,
        **{name: said[name] for name in ("temperature", "top_p") if name in said},
    }
    if system := "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system"):
        body["instructions"] = system
    if effort := writing.sampling.effort:
        body["reasoning"] = {"effort": EFFORTS.get(effort, effort)}
    if writing.json_schema:
        schema = json.loads(writing.json_schema)
        body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}}
    return body


def _items(turn: Turn) -> Iterable[dict[str, Any]]:
    """Of one turn: calls and their results are items of their own."""
    if turn["role"] == "tool":
        yield {"type": "function_call_output", "call_id": short_id(turn["tool_call_id"]), "output": turn["content"]}
        return
    calls = turn.get("tool_calls", ())
    if turn["content"].strip() or not calls:
        yield {"role": turn["role"], "content": turn["content"]}
    for call in calls:
        function = call["function"]
        arguments = json.dumps(function["arguments"], ensure_ascii=False)
        named = {"call_id": short_id(call["id"]), "name": function["name"]}
        yield {"type": "function_call", **named, "arguments": arguments}


def make(arguments: dict[str, Any]) -> ResponsesWriter:
    """From the arguments of services.models.engine.registry."""
    return ResponsesWriter(settings_from(arguments))
