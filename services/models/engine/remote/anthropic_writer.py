"""Anthropic's Messages API as a Writer, through its SDK."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import anthropic
from anthropic import AsyncAnthropic

from services.models.engine.api import FinishReason, Token
from services.models.engine.call_format import Turn
from services.models.engine.remote.api_writer import (
    CONNECT_SECONDS,
    CONTINUE,
    ApiSettings,
    ApiWriter,
    Dialect,
    settings_from,
)
from services.models.engine.remote.cache_marks import with_marks
from services.models.engine.remote.events import Name, Part, ToolUsage, TypedEvent
from services.models.engine.remote.refusals import client_options
from services.models.engine.remote.reply import Reply
from services.models.engine.writer import Writing
from tandem.method.profile.endpoint import ANTHROPIC_VERSION
from tandem.method.tokens import TokenCounts
from tandem.method.tools import Tool, ToolMode, ToolUse, short_id

_LEAST_THOUGHT = 1024  # tokens that the API takes as a budget of thinking
_EFFORTS = {"none": "", "minimal": "low"}  # where there is another word, or none
_CHOICES: Mapping[ToolMode, str] = {"auto": "auto", "none": "none", "required": "any"}


class _CacheCreation(Part):
    """How long what was written stays; in all it is `cache_creation_input_tokens`."""

    ephemeral_1h_input_tokens: int | None = None


class _Usage(ToolUsage):
    output_tokens: int
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None

    def prompt(self, hour: int) -> TokenCounts | None:
        """What is written to the cache is computed as well. None: an event that names the text's tokens alone.

        `hour` is what the stream has said before of tokens that stay for one: its last event leaves that out.
        """
        if self.input_tokens is None:
            return None
        written = self.cache_creation_input_tokens or 0
        hour = hour if self.cache_creation is None else self.cache_creation.ephemeral_1h_input_tokens or 0
        cached = self.cache_read_input_tokens or 0
        return TokenCounts(self.input_tokens + written, cached, written=written - hour, written_hour=hour)


class _Message(Part):
    model: Name
    usage: _Usage


class _Block(Part):
    type: Name
    name: Name = ""


class _Delta(Part):
    type: Name = ""
    text: str = ""
    partial_json: str = ""
    stop_reason: Name | None = None


_NEEDED = {
    "message_start": ("message",),
    "content_block_start": ("index", "content_block"),
    "content_block_delta": ("index", "delta"),
    "message_delta": ("delta", "usage"),
}


class _Event(TypedEvent):
    """docs.claude.com/en/docs/build-with-claude/streaming; which fields are there follows from the type."""

    needed = _NEEDED
    index: int | None = None
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None


class _Anthropic(Dialect):
    name, version = "anthropic", anthropic.__version__
    errors, event = anthropic.AnthropicError, _Event

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(settings)
        self._client: AsyncAnthropic | None = None

    def connect(self) -> tuple[str, str]:
        options = client_options(anthropic.DefaultAsyncHttpxClient)
        options["default_headers"]["anthropic-version"] = ANTHROPIC_VERSION
        timeout = anthropic.Timeout(self.settings.timeout_seconds, connect=CONNECT_SECONDS)
        self._client = AsyncAnthropic(
            base_url=self.settings.base_url, api_key=self.settings.api_key, timeout=timeout, **options
        )
        return str(self._client.base_url), self._client.api_key or ""

    async def disconnect(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def open(self, writing: Writing) -> Any:
        assert self._client is not None
        body = self._body(writing)
        betas = body.pop("betas", None)
        return await self._client.messages.create(
            model=self.settings.asked,
            max_tokens=writing.max_tokens,
            messages=[],  # the SDK's types know neither all that a caller sends nor all that a model takes
            stream=True,
            extra_body=body,
            extra_headers={"anthropic-beta": ",".join(betas)} if betas else None,
        )

    def _body(self, writing: Writing) -> dict[str, Any]:
        can = self.settings.can
        body = self._told(writing) if writing.native is None else self._passed_on(writing, writing.native)
        if not can.takes_temperature:
            for name in ("temperature", "top_p", "top_k"):
                body.pop(name, None)
        messages = body["messages"]
        if messages[-1]["role"] == "assistant":
            if can.continues == "no":
                messages.append({"role": "user", "content": CONTINUE})
            else:  # the API refuses a last turn that ends with white space
                messages[-1]["content"] = messages[-1]["content"].rstrip()
        return with_marks(body) if self.settings.cache_marks else body

    def _passed_on(self, writing: Writing, native: Mapping[str, Any]) -> dict[str, Any]:
        """The caller's own body. What may be thought is less than the cap, which the profile may have lowered."""
        body = {**native, "messages": [*native["messages"], *writing.begun]}
        thinking = native.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        if isinstance(budget, int) and budget >= writing.max_tokens:
            body["thinking"] = {**native["thinking"], "budget_tokens": writing.max_tokens - 1}
            if writing.max_tokens <= _LEAST_THOUGHT:
                del body["thinking"]
        return body

    def _told(self, writing: Writing) -> dict[str, Any]:
        """What was read of the conversation, in this protocol."""
        turns, said = writing.messages(), writing.sampling.said
        system = "\n\n".join(turn["content"] for turn in turns if turn["role"] == "system")
        body: dict[str, Any] = {
            "messages": _messages(turn for turn in turns if turn["role"] != "system"),
            **_tools(writing.tools),
            **{name: said[name] for name in ("temperature", "top_p") if name in said},
        }
        if "temperature" in body:
            body["temperature"] = min(body["temperature"], 1.0)
        if system:
            body["system"] = system
        if writing.json_schema:
            body["output_config"] = {"format": {"type": "json_schema", "schema": json.loads(writing.json_schema)}}
        effort = writing.sampling.effort or "none"
        if effort := _EFFORTS.get(effort, effort):
            body["output_config"] = {**body.get("output_config", {}), "effort": effort}
        if stops := [stop for stop in writing.stop_strings if stop.strip()]:  # the API takes no white space alone
            body["stop_sequences"] = stops
        return body

    def read(self, event: _Event, reply: Reply) -> list[Token]:
        if event.message:
            reply.model = event.message.model
        if usage := event.usage or (event.message and event.message.usage):
            reply.report(usage.prompt(reply.written_hour), usage.output_tokens)
            reply.report_uses(usage.tool_uses)
        if event.content_block and event.content_block.type == "server_tool_use":
            reply.use(event.content_block.name)
        if (block := event.content_block) and block.type == "tool_use":
            return reply.call(event.index or 0, block.name)
        if not (delta := event.delta):
            return []
        if delta.stop_reason:
            reply.reason = FinishReason.LENGTH if delta.stop_reason == "max_tokens" else FinishReason.EOS
        if delta.type == "input_json_delta":
            return reply.call(event.index or 0, arguments=delta.partial_json)
        if delta.type == "thinking_delta":
            return reply.think()
        return reply.add(delta.text) if delta.type == "text_delta" else []


class AnthropicWriter(ApiWriter):
    dialect = _Anthropic


def _messages(turns: Iterable[Turn]) -> list[dict[str, Any]]:
    """Results of calls are parts of one message of the user's, which follows the assistant's at once."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        if turn["role"] == "tool":
            result = {"type": "tool_result", "tool_use_id": short_id(turn["tool_call_id"]), "content": turn["content"]}
            if messages and messages[-1]["role"] == "user" and isinstance(messages[-1]["content"], list):
                messages[-1]["content"].append(result)
            else:
                messages.append({"role": "user", "content": [result]})
        elif "tool_calls" in turn:
            text = [{"type": "text", "text": turn["content"]}] if turn["content"].strip() else []
            messages.append({"role": "assistant", "content": [*text, *map(_call, turn["tool_calls"])]})
        else:
            messages.append(dict(turn))
    return messages


def _call(call: Turn) -> dict[str, Any]:
    function = call["function"]
    return {"type": "tool_use", "id": short_id(call["id"]), "name": function["name"], "input": function["arguments"]}


def _tools(use: ToolUse) -> dict[str, Any]:
    if not use.tools:
        return {}
    choice: dict[str, Any] = {"type": _CHOICES[use.mode]}
    if use.may_call and not use.parallel:
        choice["disable_parallel_tool_use"] = True
    return {"tools": [_tool(tool) for tool in use.offered], "tool_choice": choice}


def _tool(tool: Tool) -> dict[str, Any]:
    about = tool.as_data()["function"]
    described = {"description": tool.description} if tool.description else {}
    schema = {"type": "object", **about["parameters"]}
    return {"name": tool.name, **described, "input_schema": schema, **({"strict": True} if tool.strict else {})}


def make(arguments: dict[str, Any]) -> AnthropicWriter:
    """From the arguments of services.models.engine.registry."""
    return AnthropicWriter(settings_from(arguments))
