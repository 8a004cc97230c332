"""Anthropic's Messages, the way in: the body of POST /v1/messages, what becomes of each parameter, and the gateway's
request that it becomes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tandem.client.contract import MOST_COUNT, MOST_MESSAGES, MOST_TOOLS
from tandem.openai.allow_list import CACHE, Kinds, Leaf, Shape, plain, text_or
from tandem.openai.body import ApiBody, Hint, Labels, NotText, Part, Strict, Unread, text_of
from tandem.openai.parameters import EFFORT, STATELESS, TEXT_ONLY, Table, hint, hints, refused
from tandem.openai.schemas import loosened, schema_text
from tandem.openai.solve_request import Message, TandemOptions, known_effort, to_solve_request, translated
from tandem.openai.tools import OtherTool
from tandem.v1 import tandem_pb2

# -- parameters that the body has no field for ------------------------------------------------------------------------

PARAMETERS: Table = {
    **hints("top_k context_management compaction diagnostics billing_policy fallback_credit_token user_profile_id"),
    **hints("workspace_id cache_control"),
    **hints("messages[].content[type=thinking] messages[].content[type=redacted_thinking]"),
    "messages[].content[].citations": hint([]),
    "thinking": hint({"type": "disabled"}),
    "output_config.effort": EFFORT,
    "service_tier": hint("auto", "standard_only"),
    "speed": hint("standard"),
    "mcp_servers": hint([]),
    "fallbacks": hint([]),
    "betas": hint([]),
    "container": refused("nothing is run here"),
    "inference_geo": refused("there is one place"),
    "thread": STATELESS,
    "stop": refused("use `stop_sequences`", []),
    "messages[].content[type=*]": TEXT_ONLY,
    "messages[].content[].content[type=*]": TEXT_ONLY,
}

# -- what an API of this protocol may be given ------------------------------------------------------------------------

_CITED = plain(
    "type cited_text document_index document_title start_char_index end_char_index start_page_number end_page_number "
    "start_block_index end_block_index search_result_index encrypted_index url title source"
)
_TEXT_BLOCK = {**plain("type text"), "citations": [_CITED], "cache_control": CACHE}
_BASE64, _FROM_URL, _FILE = (
    plain("type media_type data"),
    {"type": Leaf.PLAIN, "url": Leaf.URL},
    {"file_id": Leaf.ACCOUNT},
)
_IMAGE = {
    "type": Leaf.PLAIN,
    "source": Kinds({"base64": _BASE64, "url": _FROM_URL, "file": _FILE}, is_content=True),
    "cache_control": CACHE,
}
_IN_DOCUMENT = Kinds({"text": _TEXT_BLOCK, "image": _IMAGE}, is_content=True)
_DOCUMENT = {
    **plain("type title context"),
    "source": Kinds(
        {
            "base64": _BASE64,
            "text": _BASE64,
            "content": {"type": Leaf.PLAIN, "content": text_or(_IN_DOCUMENT)},
            "url": _FROM_URL,
            "file": _FILE,
        },
        is_content=True,
    ),
    "citations": plain("enabled"),
    "cache_control": CACHE,
}
_SEARCH_RESULT = {
    **plain("type source title"),
    "content": [Kinds({"text": _TEXT_BLOCK}, is_content=True)],
    "citations": plain("enabled"),
    "cache_control": CACHE,
}
_READ: Mapping[str, Shape] = {
    "text": _TEXT_BLOCK, "image": _IMAGE, "document": _DOCUMENT, "search_result": _SEARCH_RESULT,
    "tool_reference": {**plain("type tool_name"), "cache_control": CACHE},
}  # fmt: skip
_BLOCKS = Kinds(
    {
        **_READ,
        "thinking": plain("type thinking signature"),
        "redacted_thinking": plain("type data"),
        "tool_use": {**plain("type id name"), "input": Leaf.DATA, "caller": plain("type"), "cache_control": CACHE},
        "tool_result": {
            **plain("type tool_use_id is_error"),
            "content": text_or(Kinds(_READ, is_content=True)),
            "cache_control": CACHE,
        },
    },
    is_content=True,
)
_FORMAT = {"type": Leaf.PLAIN, "schema": Leaf.SCHEMA}
_EDIT = {
    **plain("type clear_tool_inputs exclude_tools"),
    "keep": (Leaf.PLAIN, plain("type value")),
    "trigger": plain("type value"),
    "clear_at_least": plain("type value"),
}
_CALLERS_TOOL = {
    **plain("type name display_width_px display_height_px display_number enable_zoom max_characters"),
    "cache_control": CACHE,
}
PASSED: Mapping[str, Shape] = {
    **plain("temperature top_p top_k stop_sequences"),
    "betas": Leaf.BETAS,
    "system": text_or(Kinds({"text": _TEXT_BLOCK}, is_content=True)),
    "messages": [{"role": Leaf.PLAIN, "content": text_or(_BLOCKS)}],
    "metadata": plain("user_id"),
    "thinking": plain("type budget_tokens display"),
    "output_config": {"effort": Leaf.PLAIN, "format": _FORMAT, "task_budget": plain("type total remaining")},
    "output_format": _FORMAT,
    "context_management": {"edits": [Kinds({"clear_tool_uses_": _EDIT, "clear_thinking_": _EDIT})]},
    "diagnostics": plain("previous_message_id"),
    "cache_control": CACHE,
    "tools": [
        Kinds(
            {
                "custom": {
                    **plain("type name description strict defer_loading eager_input_streaming"),
                    "input_schema": Leaf.SCHEMA, "input_examples": Leaf.DATA, "cache_control": CACHE,
                },
                # The caller runs these, by schemas that the model has learnt.
                **dict.fromkeys(("bash_", "text_editor_", "computer_", "memory_"), _CALLERS_TOOL),
            },
            default="custom",
        )
    ],
    "tool_choice": plain("type name disable_parallel_tool_use"),
}  # fmt: skip

# -- the body ---------------------------------------------------------------------------------------------------------

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

    def as_message(self) -> Message:
        text = text_of(self.content)
        return {
            "role": "tool",
            "tool_call_id": self.tool_use_id,
            "content": f"Error: {text}" if self.is_error else text,
        }


class UserMessage(Part):
    """The system's too: what it says among the messages is read as the user's."""

    role: Literal["user", "system"]
    content: str | list[TextBlock | ResultBlock | OtherBlock]

    def as_messages(self) -> list[Message]:
        """The results of calls, which come first, and the user's text."""
        if isinstance(self.content, str):
            return [{"role": "user", "content": self.content}]
        results = [block.as_message() for block in self.content if isinstance(block, ResultBlock)]
        texts = [block for block in self.content if isinstance(block, TextBlock | OtherBlock)]
        return [*results, *([{"role": "user", "content": text_of(texts)}] if texts or not results else [])]


class AssistantMessage(Part):
    role: Literal["assistant"]
    content: str | list[TextBlock | CallBlock | ThinkingBlock | OtherBlock]

    def as_messages(self) -> list[Message]:
        if isinstance(self.content, str):
            return [{"role": "assistant", "content": self.content}]
        calls = [
            {"id": block.id, "function": {"name": block.name, "arguments": json.dumps(block.input, ensure_ascii=False)}}
            for block in self.content
            if isinstance(block, CallBlock)
        ]
        texts = [block for block in self.content if isinstance(block, TextBlock)]
        return [{"role": "assistant", "content": text_of(texts), "tool_calls": calls}]


class MessagesTool(Part):
    type: Literal["custom"] | None = None
    name: str
    description: str | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None

    def hints(self) -> Iterator[Hint]:
        yield from super().hints()
        if self._schema_held is not self.input_schema:
            yield ".input_schema", self.input_schema

    @property
    def _schema_held(self) -> dict[str, Any]:
        return self.input_schema if self.strict else loosened(self.input_schema)

    def as_offered(self) -> dict[str, Any]:
        """As tandem.client.request takes it."""
        about = {"name": self.name, "description": self.description, "strict": self.strict}
        return {**about, "parameters": self._schema_held}


class ServersTool(OtherTool):
    read = ("custom",)


class ToolChoice(Strict):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False

    @property
    def mode(self) -> str:
        return self.type if self.type in ("auto", "none") else "required"

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


class OutputConfig(Part):
    format: OutputFormat | None = None


class MessagesRequest(ApiBody):
    """The body of POST /v1/messages."""

    parameters: ClassVar[Table] = PARAMETERS
    passed: ClassVar[Mapping[str, Shape]] = PASSED
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

    @property
    def labels(self) -> Labels:
        return Labels(self.metadata.user_id or "")

    def as_solve_request(self, request_id: str) -> tandem_pb2.SolveRequest:
        """Raises RefusedParameter."""
        form = self.output_config.format or self.output_format
        return to_solve_request(
            request_id,
            self.model,
            translated(self._conversation),
            self.tandem,
            max_answer_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            effort=known_effort(self.output_config.other("effort") or self._effort_of_budget),
            stop=self.stop_sequences,
            json_schema=schema_text(form.schema_) if form else "",
            tools=[tool.as_offered() for tool in self.tools if isinstance(tool, MessagesTool)],
            tool_choice=self.tool_choice.mode,
            allowed_tools=[self.tool_choice.name] if self.tool_choice.name else [],
            parallel_tool_calls=not self.tool_choice.disable_parallel_tool_use,
        )

    @property
    def _conversation(self) -> list[Message]:
        system = text_of(self.system)
        begun: list[Message] = [{"role": "system", "content": system}] if system else []
        return [*begun, *(each for message in self.messages for each in message.as_messages())]

    @property
    def _effort_of_budget(self) -> str | None:
        thinking = self.other("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        if not isinstance(budget, int):
            return None
        return next((effort for most, effort in _BUDGETS if budget <= most), "high")


class CountTokensBody(MessagesRequest):
    """What is counted of a request; how it is answered is no part of it."""

    max_tokens: int = 1
