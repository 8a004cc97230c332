"""The body of POST /v1/messages, Anthropic's, as OpenAI's chat, in which the gateway is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tandem.contract import MOST_COUNT, MOST_MESSAGES, MOST_TOOLS
from tandem.openai.chat_request import ChatCompletionRequest, TandemOptions
from tandem.openai.json_body import JsonBody
from tandem.openai.parameters import used_parameters

USED: dict[str, str] = {
    "model": "a profile, or `profile@0.6` with the threshold at which a stage suffices",
    "messages": "text, `tool_use` and `tool_result` of user and assistant; the last one is the user's",
    "max_tokens": "cap of the answer's tokens, where it is below the profile's; it must be given",
    "system": "the system message before the others",
    "stop_sequences": "at most 4, each of 1 to 64 characters: the answer ends before the first of them",
    "stream": "server-sent events",
    "temperature": "0 to 1, in both models; not given: 0, which is greedy",
    "top_p": "above 0, at most 1, in both models",
    "tools": "the caller's own, at most 128; `strict` as in chat completions",
    "tool_choice": "`auto`, `any`, `tool` or `none`, with `disable_parallel_tool_use`",
    "metadata": "`user_id`: as `user` of chat completions",
    "tandem": "Tandem's own options, see below",
}
COUNTED = {name: USED[name] for name in ("model", "messages", "system", "tools", "tool_choice")}
"""Of count_tokens."""
NEUTRAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "top_k": ((), "not supported by every engine"),
    "thinking": (({"type": "disabled"},), "the stop rule decides how much is written: use `model@threshold`"),
    "service_tier": (("auto", "standard_only"), "there are no tiers"),
    "container": ((), "nothing is run here"),
    "mcp_servers": (([],), "nothing is called here: the caller runs its tools"),
    "context_management": ((), "nothing is cut: a conversation that is too long is refused"),
    "output_config": ((), "not supported"),
    "output_format": ((), "not supported"),
    "inference_geo": ((), "there is one place"),
    "thread": ((), "this process keeps no state: send the whole conversation"),
    "cache_control": (({"type": "ephemeral"},), "what has the same beginning is found without it"),
}


class _Body(BaseModel):
    """`cache_control` asks for nothing: what has the same beginning is found without it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    cache_control: dict[str, str] | None = None


class TextBlock(_Body):
    """`citations` are of an earlier reply, and empty."""

    type: Literal["text"]
    text: str
    citations: list[None] | None = None


class CallBlock(_Body):
    type: Literal["tool_use"]
    id: str = Field(min_length=1)
    name: str
    input: dict[str, Any]


class ResultBlock(_Body):
    type: Literal["tool_result"]
    tool_use_id: str = Field(min_length=1)
    content: str | list[TextBlock] = ""
    is_error: bool | None = None

    def as_chat(self) -> dict[str, Any]:
        text = _text(self.content)
        return {
            "role": "tool",
            "tool_call_id": self.tool_use_id,
            "content": f"Error: {text}" if self.is_error else text,
        }


class UserMessage(_Body):
    role: Literal["user"]
    content: str | list[TextBlock | ResultBlock]

    def as_chat(self) -> list[dict[str, Any]]:
        """The results of calls, which come first, and what the user says."""
        if isinstance(self.content, str):
            return [{"role": "user", "content": self.content}]
        results = [block.as_chat() for block in self.content if isinstance(block, ResultBlock)]
        texts = [block for block in self.content if isinstance(block, TextBlock)]
        return [*results, *([{"role": "user", "content": _text(texts)}] if texts or not results else [])]


class AssistantMessage(_Body):
    role: Literal["assistant"]
    content: str | list[TextBlock | CallBlock]

    def as_chat(self) -> list[dict[str, Any]]:
        if isinstance(self.content, str):
            return [{"role": "assistant", "content": self.content}]
        calls = [
            {"id": block.id, "function": {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}}
            for block in self.content
            if isinstance(block, CallBlock)
        ]
        texts = [block for block in self.content if isinstance(block, TextBlock)]
        return [{"role": "assistant", "content": _text(texts), "tool_calls": calls}]


class MessagesTool(_Body):
    type: Literal["custom"] | None = None
    name: str
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None

    def as_chat(self) -> dict[str, Any]:
        about = {"name": self.name, "description": self.description, "parameters": self.input_schema}
        return {"type": "function", "function": {**about, "strict": self.strict}}


class ToolChoice(_Body):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False

    def as_chat(self) -> Any:
        if self.type == "tool":
            return {"type": "function", "function": {"name": self.name}}
        return {"auto": "auto", "any": "required", "none": "none"}[self.type]

    @model_validator(mode="after")
    def _names_a_tool(self) -> ToolChoice:
        if (self.type == "tool") != bool(self.name):
            raise ValueError("a name belongs to the type tool")
        return self


class Metadata(_Body):
    user_id: str | None = None


class MessagesRequest(JsonBody):
    """Every other parameter of Anthropic's is refused by name."""

    model: str
    messages: Annotated[list[UserMessage | AssistantMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: int = Field(gt=0, le=MOST_COUNT)
    system: str | list[TextBlock] = ""
    stop_sequences: list[str] = Field(default_factory=list)
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    tools: list[MessagesTool] = Field(default_factory=list, max_length=MOST_TOOLS)
    tool_choice: ToolChoice = ToolChoice(type="auto")
    metadata: Metadata = Metadata()
    tandem: TandemOptions = TandemOptions()

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        return used_parameters(given, USED, NEUTRAL) if isinstance(given, dict) else given

    def as_chat(self) -> ChatCompletionRequest:
        """Raises pydantic.ValidationError."""
        system = _text(self.system)
        said = [{"role": "system", "content": system}] if system else []
        said += [chat for message in self.messages for chat in message.as_chat()]
        return ChatCompletionRequest.model_validate(
            {
                "model": self.model,
                "messages": said,
                "stream": self.stream,
                "max_completion_tokens": self.max_tokens,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "stop": self.stop_sequences,
                "tools": [tool.as_chat() for tool in self.tools],
                "tool_choice": self.tool_choice.as_chat(),
                "parallel_tool_calls": not self.tool_choice.disable_parallel_tool_use,
                "user": self.metadata.user_id or "",
                "tandem": self.tandem,
            }
        )


class CountTokensBody(MessagesRequest):
    """What is counted of a request; how it is answered is no part of it."""

    max_tokens: int = 1

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        return used_parameters(given, COUNTED, NEUTRAL) if isinstance(given, dict) else given


def _text(content: str | Sequence[TextBlock]) -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
