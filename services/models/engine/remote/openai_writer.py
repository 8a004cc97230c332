"""Any API of OpenAI's protocol as a Writer.

The client of the SDK reads OPENAI_BASE_URL and OPENAI_API_KEY where a profile names neither.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import openai
from openai import AsyncOpenAI
from pydantic import Field

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
from services.models.engine.remote.events import MOST_CALLS, Event, Name, Part
from services.models.engine.remote.refusals import ErrorReply, client_options
from services.models.engine.remote.reply import Reply
from services.models.engine.writer import Writing
from tandem.method.profile.endpoint import USAGE_FIELDS
from tandem.method.tokens import TokenCounts
from tandem.method.tools import ToolUse, short_id

_MOST_CHOICES = 16


class _Function(Part):
    name: Name | None = None
    arguments: str | None = None


class _Call(Part):
    index: int | None = None
    function: _Function | None = None


class _ChoiceDelta(Part):
    content: str | None = None
    tool_calls: Annotated[list[_Call], Field(max_length=MOST_CALLS)] | None = None


class _Choice(Part):
    delta: _ChoiceDelta
    finish_reason: Name | None = None


class _CachedTokens(Part):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Usage(Part):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _CachedTokens | None = None

    @property
    def prompt(self) -> TokenCounts:
        details = self.prompt_tokens_details or _CachedTokens()
        cached, written = details.cached_tokens or 0, details.cache_write_tokens or 0
        return TokenCounts(self.prompt_tokens - cached, cached, written=written)


class _Timings(Part):
    """llama-server's: of the prompt what it computed and what it had in its cache, and what it wrote."""

    prompt_n: int = 0
    cache_n: int = 0
    predicted_n: int = 0


class _Event(Event):
    """platform.openai.com/docs/api-reference/chat-streaming, with llama-server's `timings`."""

    model: Name | None = None
    choices: list[_Choice] = Field(default=[], max_length=_MOST_CHOICES)
    usage: _Usage | None = None
    timings: _Timings | None = None


class _OpenAI(Dialect):
    name, version = "openai", openai.__version__
    errors, event = openai.OpenAIError, _Event

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(settings)
        self._asks_for_usage = True
        self._client: AsyncOpenAI | None = None

    def connect(self) -> tuple[str, str]:
        timeout = openai.Timeout(self.settings.timeout_seconds, connect=CONNECT_SECONDS)
        self._client = AsyncOpenAI(
            base_url=self.settings.base_url,
            api_key=self.settings.api_key,
            timeout=timeout,
            **client_options(openai.DefaultAsyncHttpxClient),
        )
        return str(self._client.base_url), self._client.api_key or ""

    async def disconnect(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def open(self, writing: Writing) -> Any:
        assert self._client is not None
        arguments = self._arguments(writing)
        usage = USAGE_FIELDS[self.settings.can.usage] if self._asks_for_usage else {}
        if usage:
            try:
                return await self._client.chat.completions.create(
                    **arguments, extra_body={**self._continued(arguments), **usage}
                )
            except ErrorReply as error:
                if error.status not in (400, 422) or "stream_options" not in str(error):
                    raise
                self._asks_for_usage = False  # such an API reports usage without being asked, or never
        return await self._client.chat.completions.create(**arguments, extra_body=self._continued(arguments))

    def _continued(self, arguments: dict[str, Any]) -> dict[str, Any]:
        is_begun = arguments["messages"][-1]["role"] == "assistant"
        flags = {"continue_final_message": True, "add_generation_prompt": False}
        return flags if is_begun and self.settings.can.continues == "flag" else {}

    def _arguments(self, writing: Writing) -> dict[str, Any]:
        can, sampling = self.settings.can, writing.sampling
        messages = [_message(turn) for turn in writing.messages()]
        if messages[-1]["role"] == "assistant":  # an insight, or an earlier attempt's text
            if can.continues == "no":
                messages.append({"role": "user", "content": CONTINUE})
            elif can.continues in ("prefix", "prefix_echoed"):
                messages[-1]["prefix"] = True
        arguments: dict[str, Any] = {
            "model": self.settings.asked,
            "messages": messages,
            can.limit_name: writing.max_tokens,
            "stream": True,
            **_tools(writing.tools),
        }
        if writing.json_schema:
            schema = {"name": "answer", "schema": json.loads(writing.json_schema), "strict": True}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        if writing.stop_strings:  # the API ends, and bills, at the very token
            arguments["stop"] = list(writing.stop_strings)
        if can.takes_temperature:
            arguments |= sampling.said
        return arguments

    def read(self, event: _Event, reply: Reply) -> list[Token]:
        reply.model = event.model or reply.model
        if usage := event.usage:
            reply.report(usage.prompt, usage.completion_tokens)
        elif timings := event.timings:
            reply.report(TokenCounts(timings.prompt_n, timings.cache_n), timings.predicted_n)
        tokens: list[Token] = []
        for choice in event.choices:
            tokens += reply.add(choice.delta.content or "")
            for call in choice.delta.tool_calls or ():
                if called := call.function:
                    tokens += reply.call(call.index or 0, called.name or "", called.arguments or "")
            if choice.finish_reason:
                reply.end(FinishReason.LENGTH if choice.finish_reason == "length" else FinishReason.EOS)
        return tokens


class OpenAIWriter(ApiWriter):
    dialect = _OpenAI


def _message(turn: Turn) -> dict[str, Any]:
    """With ids that every API takes, and arguments as texts."""
    message = dict(turn)
    if "tool_call_id" in message:
        message["tool_call_id"] = short_id(message["tool_call_id"])
    if "tool_calls" in message:
        message["tool_calls"] = [_call(call["id"], call["function"]) for call in message["tool_calls"]]
    return message


def _call(call_id: str, function: Turn) -> dict[str, Any]:
    arguments = json.dumps(function["arguments"], ensure_ascii=False)
    return {"id": short_id(call_id), "type": "function", "function": {**function, "arguments": arguments}}


def _tools(use: ToolUse) -> dict[str, Any]:
    if not use.tools:
        return {}
    offered = [tool.as_data() for tool in use.offered]
    for data, tool in zip(offered, use.offered, strict=True):
        data["function"] |= {"strict": True} if tool.strict else {}
    serial = {} if use.parallel or not use.may_call else {"parallel_tool_calls": False}
    return {"tools": offered, "tool_choice": use.mode, **serial}


def make(arguments: dict[str, Any]) -> OpenAIWriter:
    """From the arguments of services.models.engine.registry."""
    return OpenAIWriter(settings_from(arguments))
