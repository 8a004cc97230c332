"""Any API of OpenAI's protocol as a Writer.

The client of the SDK reads OPENAI_BASE_URL and OPENAI_API_KEY where a profile names neither.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
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
from services.models.engine.remote.events import MOST_CALLS, Event, Name, Part, ToolUsage
from services.models.engine.remote.refusals import ErrorReply, client_options
from services.models.engine.remote.reply import Reply
from services.models.engine.writer import Writing
from tandem.method.profile.endpoint import USAGE_FIELDS
from tandem.method.tokens import TokenCounts
from tandem.method.tools import ToolUse, short_id

_MOST_CHOICES = 16
EFFORTS = {"max": "xhigh"}  # where the word is another one
_OUR_ID = re.compile(r"call_[0-9a-f]{24}")  # as tandem.method.tools.call_id makes them


class _Function(Part):
    name: Name | None = None
    arguments: str | None = None


class _Call(Part):
    index: int | None = None
    function: _Function | None = None


class _ChoiceDelta(Part):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: Annotated[list[_Call], Field(max_length=MOST_CALLS)] | None = None


class _Choice(Part):
    delta: _ChoiceDelta
    finish_reason: Name | None = None


class CachedTokens(Part):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None

    def of(self, prompt_tokens: int) -> TokenCounts:
        cached, written = self.cached_tokens or 0, self.cache_write_tokens or 0
        return TokenCounts(prompt_tokens - cached, cached, written=written)


class _Usage(ToolUsage):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: CachedTokens | None = None


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


class OpenAIDialect(Dialect):
    """Of either protocol of OpenAI's SDK."""

    version, errors = openai.__version__, openai.OpenAIError

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(settings)
        self._client: AsyncOpenAI | None = None

    @property
    def client(self) -> AsyncOpenAI:
        assert self._client is not None
        return self._client

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


class _Chat(OpenAIDialect):
    name, event = "openai", _Event

    def __init__(self, settings: ApiSettings) -> None:
        super().__init__(settings)
        self._asks_for_usage = True

    async def open(self, writing: Writing) -> Any:
        body = self._body(writing)
        usage = USAGE_FIELDS[self.settings.can.usage] if self._asks_for_usage else {}
        if usage:
            try:
                return await self._create(body | usage)
            except ErrorReply as error:
                if error.status not in (400, 422) or "stream_options" not in str(error):
                    raise
                self._asks_for_usage = False  # such an API reports usage without being asked, or never
        return await self._create(body)

    async def _create(self, body: dict[str, Any]) -> Any:
        """The SDK's types know neither all that a caller sends nor all that a model takes."""
        return await self.client.chat.completions.create(
            model=self.settings.asked, messages=[], stream=True, extra_body=body
        )

    def _body(self, writing: Writing) -> dict[str, Any]:
        can = self.settings.can
        body = self._told(writing) if writing.native is None else dict(writing.native)
        if writing.native is not None:
            body["messages"] = [*map(_with_short_ids, body["messages"]), *writing.begun]
        if not can.takes_temperature:
            for name in ("temperature", "top_p", "seed"):
                body.pop(name, None)
        messages = body["messages"]
        if messages[-1]["role"] == "assistant":  # an insight, or an earlier attempt's text
            if can.continues == "no":
                messages.append({"role": "user", "content": CONTINUE})
            elif can.continues in ("prefix", "prefix_echoed"):
                messages[-1]["prefix"] = True
            elif can.continues == "flag":
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        return body | {can.limit_name: writing.max_tokens}

    def _told(self, writing: Writing) -> dict[str, Any]:
        """What was read of the conversation, in this protocol."""
        body: dict[str, Any] = {
            "messages": [_message(turn) for turn in writing.messages()],
            **tools_of(writing.tools),
            **replace(writing.sampling, effort=None).said,
        }
        if effort := writing.sampling.effort:
            body["reasoning_effort"] = EFFORTS.get(effort, effort)
        if writing.json_schema:
            schema = {"name": "answer", "schema": json.loads(writing.json_schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if writing.stop_strings:  # the API ends, and bills, at the very token
            body["stop"] = list(writing.stop_strings)
        return body

    def read(self, event: _Event, reply: Reply) -> list[Token]:
        reply.model = event.model or reply.model
        if usage := event.usage:
            details = usage.prompt_tokens_details or CachedTokens()
            reply.report(details.of(usage.prompt_tokens), usage.completion_tokens)
            reply.report_uses(usage.tool_uses)
        elif timings := event.timings:
            reply.report(TokenCounts(timings.prompt_n, timings.cache_n), timings.predicted_n)
        tokens: list[Token] = []
        for choice in event.choices:
            tokens += reply.add(choice.delta.content or "")
            tokens += reply.think() if choice.delta.reasoning_content else []
            for call in choice.delta.tool_calls or ():
                if called := call.function:
                    tokens += reply.call(call.index or 0, called.name or "", called.arguments or "")
            if choice.finish_reason:
                reply.reason = FinishReason.LENGTH if choice.finish_reason == "length" else FinishReason.EOS
        return tokens


class OpenAIWriter(ApiWriter):
    dialect = _Chat


def _with_short_ids(message: dict[str, Any]) -> dict[str, Any]:
    """Of a caller's own message. Ids of calls that are ours become ids that every API takes; the API's own stay."""
    if result_of := message.get("tool_call_id"):
        return message | {"tool_call_id": _short(result_of)}
    if calls := message.get("tool_calls"):
        return message | {"tool_calls": [call | {"id": _short(call["id"])} for call in calls]}
    return message


def _short(call_id: str) -> str:
    return short_id(call_id) if _OUR_ID.fullmatch(call_id) else call_id


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


def tools_of(use: ToolUse) -> dict[str, Any]:
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
