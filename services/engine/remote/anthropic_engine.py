"""Anthropic's Messages API as a back end, through its SDK."""

from __future__ import annotations

import json
from typing import Any

import anthropic
from anthropic import Anthropic, AsyncAnthropic

from services.engine.api import FinishReason, GenerationRequest, Token
from services.engine.remote.api_engine import (
    CONNECT_SECONDS,
    CONTINUE,
    ApiEngine,
    ApiSettings,
    Dialect,
    settings_from,
)
from services.engine.remote.messages import MessageCodec
from services.engine.remote.refusals import SdkErrors
from services.engine.remote.reply import Reply
from tandem.method.endpoint import ANTHROPIC_VERSION

_LIST_SECONDS = 20


class _Anthropic(Dialect):
    name, version = "anthropic", anthropic.__version__
    errors = SdkErrors(anthropic.APIStatusError, anthropic.AnthropicError)

    def __init__(self, settings: ApiSettings, codec: MessageCodec) -> None:
        super().__init__(settings, codec)
        self._client: AsyncAnthropic | None = None

    def connect(self) -> None:
        options: dict[str, Any] = {
            "base_url": self.settings.base_url,
            "api_key": self.settings.api_key,
            "max_retries": 0,
            "default_headers": {"anthropic-version": ANTHROPIC_VERSION},
        }
        try:
            with Anthropic(**options, timeout=_LIST_SECONDS) as client:
                client.models.retrieve(self.settings.asked)
        except anthropic.NotFoundError as error:
            if "model" in str(error).lower():
                raise OSError(f"the API has no model {self.settings.asked!r}: {error}") from error
        except anthropic.AnthropicError as error:
            raise OSError(f"the API does not answer: {error}; check its address and key") from error
        timeout = anthropic.Timeout(self.settings.timeout_seconds, connect=CONNECT_SECONDS)
        self._client = AsyncAnthropic(**options, timeout=timeout)

    async def disconnect(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def open(self, generation: GenerationRequest) -> Any:
        assert self._client is not None
        return await self._client.messages.create(**self._arguments(generation))

    def _arguments(self, generation: GenerationRequest) -> dict[str, Any]:
        can, sampling = self.settings.can, generation.sampling
        turns = self.codec.messages(generation.prompt_ids)
        system = "\n\n".join(text for role, text in turns if role == "system")
        messages = [{"role": role, "content": text} for role, text in turns if role != "system"]
        if messages[-1]["role"] == "assistant":
            if can.continues == "no":
                messages.append({"role": "user", "content": CONTINUE})
            else:  # the API refuses a last turn that ends with white space
                messages[-1]["content"] = messages[-1]["content"].rstrip()
        arguments: dict[str, Any] = {
            "model": self.settings.asked,
            "messages": messages,
            "max_tokens": generation.max_new_tokens,
            "stream": True,
        }
        if system:
            arguments["system"] = system
        if generation.json_schema:
            arguments["output_config"] = {
                "format": {"type": "json_schema", "schema": json.loads(generation.json_schema)}
            }
        if stops := [stop for stop in generation.stop_strings if stop.strip()]:  # the API takes no white space alone
            arguments["stop_sequences"] = stops
        if can.takes_temperature:  # the SDK names it no longer, because newer models refuse it
            arguments["extra_body"] = {"temperature": min(sampling.temperature, 1.0)}
        return arguments

    def read(self, event: Any, reply: Reply) -> list[Token]:
        match event.type:
            case "message_start":
                reply.model = event.message.model
                self._report(event.message.usage, reply)
            case "content_block_delta" if event.delta.type == "text_delta":
                return reply.add(event.delta.text)
            case "message_delta":
                self._report(event.usage, reply)
                if event.delta.stop_reason:
                    reply.end(FinishReason.LENGTH if event.delta.stop_reason == "max_tokens" else FinishReason.EOS)
        return []

    def _report(self, usage: Any, reply: Reply) -> None:
        """What is written to the cache is computed; the last event may name the text's tokens alone."""
        if usage.input_tokens is None:
            reply.report_text(usage.output_tokens)
            return
        prompt = usage.input_tokens + (usage.cache_creation_input_tokens or 0)
        reply.report(prompt, usage.cache_read_input_tokens or 0, usage.output_tokens)


class AnthropicEngine(ApiEngine):
    dialect = _Anthropic


def make(arguments: dict[str, Any]) -> AnthropicEngine:
    """From the arguments of services.engine.registry."""
    return AnthropicEngine(settings_from(arguments))
