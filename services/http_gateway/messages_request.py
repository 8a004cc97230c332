"""The body of POST /v1/messages, Anthropic's, as OpenAI's chat, in which the gateway is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tandem.client.contract import MOST_COUNT, MOST_MESSAGES, MOST_TOOLS
from tandem.openai.body import ApiBody, Hint, NotText, Part, Strict, Unread
from tandem.openai.chat_request import ChatCompletionRequest, TandemOptions
from tandem.openai.parameters import MESSAGES, Table
from tandem.openai.schemas import loosened
from tandem.openai.tools import OtherTool

_BUDGETS = ((2048, "low"), (8192, "medium"))
"""Tokens of thinking, by the effort that they are told as."""


class TextBlock(Part):
    type: Literal["text"]
    text: str


class ThinkingBlock(Unread):
    """What a model thought before an earlier reply."""

    type: Literal["thinking", "redacted_thinking"]


class OtherBlock(NotText):
    """An image, a document, or what the API's own tools did."""

    read = ("text", "tool_use", "tool_result", "thinking", "redacted_thinking")


class CallBlock(Part):
    type: Literal["tool_use"]
    id: str = Field(min_length=1)
    name: str
    input: dict[str, Any]


class ResultBlock(Part):
    type: Literal["tool_result"]
    tool_use_id: str = Field(min_length=1)
    content: str | list[TextBlock | OtherBlock] = ""
    is_error: bool | None = None

    def as_chat(self) -> dict[str, Any]:
        text = _text(self.content)
        return {
            "role": "tool",
            "tool_call_id": self.tool_use_id,
            "content": f"Error: {text}" if self.is_error else text,
        }


class UserMessage(Part):
    """The system's too: what it says among the messages is read as the user's."""

    role: Literal["user", "system"]
    content: str | list[TextBlock | ResultBlock | OtherBlock]

    def as_chat(self) -> list[dict[str, Any]]:
        """The results of calls, which come first, and what the user says."""
        if isinstance(self.content, str):
            return [{"role": "user", "content": self.content}]
        results = [block.as_chat() for block in self.content if isinstance(block, ResultBlock)]
        texts = [block for block in self.content if isinstance(block, TextBlock | OtherBlock)]
        return [*results, *([{"role": "user", "content": _text(texts)}] if texts or not results else [])]


class AssistantMessage(Part):
    role: Literal["assistant"]
    content: str | list[TextBlock | CallBlock | ThinkingBlock | OtherBlock]

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


class MessagesTool(Part):
    type: Literal["custom"] | None = None
    name: str
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None

    def hints(self) -> Iterator[Hint]:
        yield from super().hints()
        if not self.strict and loosened(self.input_schema) is not self.input_schema:
            yield ".input_schema", self.input_schema

    def as_chat(self) -> dict[str, Any]:
        about = {"name": self.name, "description": self.description, "parameters": self.input_schema}
        return {"type": "function", "function": {**about, "strict": self.strict}}


class ServersTool(OtherTool):
    read = ("custom",)


class ToolChoice(Strict):
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


class Metadata(Part):
    user_id: str | None = None


class OutputFormat(Strict):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")

    def as_chat(self) -> dict[str, Any]:
        return {"type": self.type, "json_schema": {"name": "", "schema": self.schema_}}


class OutputConfig(Part):
    format: OutputFormat | None = None

    @property
    def effort(self) -> Any:
        return (self.model_extra or {}).get("effort")


class MessagesRequest(ApiBody):
    """What becomes of any other parameter, tandem.openai.parameters says."""

    parameters: ClassVar[Table] = MESSAGES
    protocol: ClassVar[str] = "anthropic"

    model: str
    messages: Annotated[list[UserMessage | AssistantMessage], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: int = Field(gt=0, le=MOST_COUNT)
    system: str | list[TextBlock] = ""
    stop_sequences: list[str] = Field(default_factory=list)
    stream: bool = False
    temperature: float | None = Field(default=None, ge=0, le=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    tools: list[MessagesTool | ServersTool] = Field(default_factory=list, max_length=MOST_TOOLS)
    tool_choice: ToolChoice = ToolChoice(type="auto")
    metadata: Metadata = Metadata()
    output_config: OutputConfig = OutputConfig()
    output_format: OutputFormat | None = None
    tandem: TandemOptions = TandemOptions()

    def as_chat(self) -> ChatCompletionRequest:
        """Raises pydantic.ValidationError."""
        system = _text(self.system)
        said = [{"role": "system", "content": system}] if system else []
        said += [chat for message in self.messages for chat in message.as_chat()]
        form = self.output_config.format or self.output_format
        return ChatCompletionRequest.model_validate(
            {
                "model": self.model,
                "messages": said,
                "stream": self.stream,
                "max_completion_tokens": self.max_tokens,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "stop": self.stop_sequences,
                "response_format": form and form.as_chat(),
                "tools": [tool.as_chat() for tool in self.tools if isinstance(tool, MessagesTool)],
                "tool_choice": self.tool_choice.as_chat(),
                "parallel_tool_calls": not self.tool_choice.disable_parallel_tool_use,
                "user": self.metadata.user_id or "",
                "tandem": self.tandem,
                "reasoning_effort": self.output_config.effort or self._effort_of_budget,
            }
        )

    @property
    def _effort_of_budget(self) -> str | None:
        thinking = (self.model_extra or {}).get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        if not isinstance(budget, int):
            return None
        return next((effort for most, effort in _BUDGETS if budget <= most), "high")


class CountTokensBody(MessagesRequest):
    """What is counted of a request; how it is answered is no part of it."""

    max_tokens: int = 1


def _text(content: str | Sequence[TextBlock | OtherBlock]) -> str:
    return content if isinstance(content, str) else "\n".join(block.text for block in content)
