"""OpenAI's chat completions, the way in: the body of POST /v1/chat/completions, what becomes of each parameter, and the
gateway's request that it becomes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from tandem.client.contract import MOST_CALLS, MOST_COUNT, MOST_MESSAGES, MOST_TOOLS, Seed
from tandem.openai.allow_list import CACHE, CACHE_OF_OPENAI, MARKS, Kinds, Leaf, Shape, plain, text_or
from tandem.openai.body import ApiBody, Labels, NotText, Part, Strict, text_of
from tandem.openai.parameters import (
    EFFORT,
    LOGPROBS,
    OF_OPENAI,
    TEXT_ONLY,
    RefusedParameter,
    Table,
    hint,
    hints,
    refused,
)
from tandem.openai.schemas import ANY_OBJECT, schema_text
from tandem.openai.solve_request import (
    CALL_OF_A_RESULT,
    Message,
    Metadata,
    TandemOptions,
    known_effort,
    to_solve_request,
    with_one_system_message,
)
from tandem.openai.tools import CalledFunction, FunctionBody, OtherTool, as_object
from tandem.v1 import tandem_pb2

# -- parameters that the body has no field for ------------------------------------------------------------------------

_SHAPE = refused("use `response_format`")
_NEW_TEXT = refused("there is one answer, which is new text")
PARAMETERS: Table = {
    **OF_OPENAI,
    **hints("verbosity prediction web_search_options chat_template_kwargs"),
    "presence_penalty": hint(0),
    "frequency_penalty": hint(0),
    "reasoning_effort": EFFORT,
    "n": refused("send one request for each answer", 1),
    "logprobs": refused(LOGPROBS, False),
    "top_logprobs": refused(LOGPROBS, 0),
    "logit_bias": refused("not every engine has it", {}),
    "functions": refused("use `tools`", []),
    "function_call": refused("use `tool_choice`", "none", "auto"),
    "messages[].function_call": refused("use `tool_calls`"),
    "modalities": refused(TEXT_ONLY.about, ["text"]),
    "audio": TEXT_ONLY,
    "messages[].audio": TEXT_ONLY,
    "messages[].content[type=*]": TEXT_ONLY,
    "guided_json": _SHAPE,
    "guided_regex": _SHAPE,
    "guided_choice": _SHAPE,
    "guided_grammar": _SHAPE,
    "structured_outputs": _SHAPE,
    "grammar": _SHAPE,
    "json_schema": _SHAPE,
    "stop_sequences": refused("use `stop`", []),
    "best_of": _NEW_TEXT,
    "echo": _NEW_TEXT,
    "suffix": _NEW_TEXT,
}

# -- what an API of this protocol may be given ------------------------------------------------------------------------

_FUNCTION = {**plain("name description strict"), "parameters": Leaf.SCHEMA}
_PARTS = Kinds(
    {
        "text": {**plain("type text"), **MARKS},
        "refusal": plain("type refusal"),
        "image_url": {"type": Leaf.PLAIN, "image_url": {"url": Leaf.URL, "detail": Leaf.PLAIN}, **MARKS},
        "input_audio": {"type": Leaf.PLAIN, "input_audio": plain("data format"), **MARKS},
        "file": {"type": Leaf.PLAIN, "file": {**plain("file_data filename"), "file_id": Leaf.ACCOUNT}, **MARKS},
    },
    is_content=True,
)
_CALL = {
    **plain("id type index"),
    "function": plain("name arguments"),
    "custom": plain("name input"),
    "extra_content": Leaf.DATA,  # a thought's signature, which Google's API takes back with the call
}
_MESSAGE = {
    **plain("role name refusal tool_call_id reasoning_content reasoning"),
    "content": text_or(_PARTS),
    "tool_calls": [_CALL],
    "reasoning_details": Leaf.DATA,  # of an earlier reply: OpenRouter's, which vendors need back with their calls
    "cache_control": CACHE,
}
_NAMED = {"type": Leaf.PLAIN, "function": plain("name"), "custom": plain("name")}
PASSED: Mapping[str, Shape] = {
    **plain("temperature top_p seed stop parallel_tool_calls user safety_identifier presence_penalty"),
    **plain("frequency_penalty reasoning_effort verbosity"),
    **CACHE_OF_OPENAI,
    "logit_bias": Leaf.NAMED,
    "response_format": {"type": Leaf.PLAIN, "json_schema": {**plain("name description strict"), "schema": Leaf.SCHEMA}},
    "messages": [_MESSAGE],
    "tools": [
        Kinds(
            {
                "function": {"type": Leaf.PLAIN, "function": _FUNCTION, **MARKS},
                "custom": {"type": Leaf.PLAIN, "custom": {**plain("name description"), "format": Leaf.GRAMMAR}},
            }
        )
    ],
    "tool_choice": (Leaf.PLAIN, {**_NAMED, "allowed_tools": {"mode": Leaf.PLAIN, "tools": [_NAMED]}}),
}  # fmt: skip

# -- the body ---------------------------------------------------------------------------------------------------------

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


class TextPart(Part):
    type: Literal["text"]
    text: str


class OtherPart(NotText):
    """An image, a sound or a file."""

    read = ("text",)


class CallBody(Part):
    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: CalledFunction

    def as_said(self) -> dict[str, Any]:
        """As tandem.request takes it."""
        function = {"name": self.function.name, "arguments": as_object(self.function.arguments)}
        return {"id": self.id, "function": function}


class ChatMessage(Part):
    """Its text, as one string or in parts; of the assistant's also what it called, of a tool's the call that it is the
    result of.
    """

    role: str = Field(description="system, developer, user, assistant or tool")
    content: str | list[TextPart | OtherPart] = ""
    tool_calls: list[CallBody] = Field(default_factory=list, max_length=MOST_CALLS)
    tool_call_id: str = ""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """What a client repeats of an earlier reply has fields that are empty."""
        return (
            {name: value for name, value in given.items() if value not in (None, [])}
            if isinstance(given, dict)
            else given
        )

    @model_validator(mode="after")
    def _answers_one_call(self) -> ChatMessage:
        if (self.role == "tool") != bool(self.tool_call_id):
            raise ValueError(CALL_OF_A_RESULT)
        return self

    def as_said(self) -> dict[str, Any]:
        """As tandem.request takes it; its role is known."""
        calls = [call.as_said() for call in self.tool_calls]
        said = {"role": _ROLES[self.role], "content": self.text, "tool_call_id": self.tool_call_id}
        return said | ({"tool_calls": calls} if calls else {})

    @property
    def text(self) -> str:
        return text_of(self.content)


class StreamOptions(Part):
    include_usage: bool = False


class JsonSchema(Strict):
    """`strict` makes no difference: an answer is always held to its schema."""

    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    description: str = ""
    strict: bool | None = None


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def as_text(self) -> str:
        """The JSON schema; empty for plain text."""
        if (own := self.json_schema) is not None:
            return schema_text(own.schema_, own.name, own.description)
        return "" if self.type == "text" else schema_text(ANY_OBJECT)

    @model_validator(mode="after")
    def _check(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to the type json_schema")
        return self


class ToolBody(Part):
    type: Literal["function"]
    function: FunctionBody


class NamedFunction(Strict):
    name: str


class NamedTool(Strict):
    type: Literal["function"]
    function: NamedFunction


class AllowedTools(Strict):
    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1)


class AllowedChoice(Strict):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


Choice = Literal["auto", "none", "required"] | NamedTool | AllowedChoice


class ChatCompletionRequest(ApiBody):
    """The body of POST /v1/chat/completions."""

    parameters: ClassVar[Table] = PARAMETERS
    passed: ClassVar[Mapping[str, Shape]] = PASSED
    protocol: ClassVar[str] = "openai"

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=MOST_MESSAGES)
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: int | None = Field(default=None, gt=0, le=MOST_COUNT)
    max_completion_tokens: int | None = Field(default=None, gt=0, le=MOST_COUNT)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: Seed | None = None
    stop: str | list[str] = Field(default_factory=list)
    response_format: ResponseFormat = ResponseFormat(type="text")
    tools: list[ToolBody | OtherTool] = Field(default_factory=list, max_length=MOST_TOOLS)
    tool_choice: Choice = "auto"
    parallel_tool_calls: bool | None = None
    user: str = ""
    metadata: Metadata = Field(default_factory=dict)
    tandem: TandemOptions = TandemOptions()

    @property
    def labels(self) -> Labels:
        return Labels(self.user, self.metadata)

    def as_solve_request(self, request_id: str) -> tandem_pb2.SolveRequest:
        """Raises RefusedParameter."""
        choice, allowed = _choice(self.tool_choice)
        return to_solve_request(
            request_id,
            self.model,
            as_conversation(self.messages),
            self.tandem,
            max_answer_tokens=self._max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            effort=known_effort(self.other("reasoning_effort")),
            stop=self.stop,
            json_schema=self.response_format.as_text(),
            tools=[tool.function.as_offered() for tool in self.tools if isinstance(tool, ToolBody)],
            tool_choice=choice,
            allowed_tools=allowed,
            parallel_tool_calls=self.parallel_tool_calls,
        )

    @property
    def _max_tokens(self) -> int | None:
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            raise RefusedParameter(
                "max_tokens", "max_tokens and max_completion_tokens differ: give one", "invalid_value"
            )
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


# -- the gateway's request --------------------------------------------------------------------------------------------


def as_conversation(messages: Sequence[ChatMessage]) -> list[Message]:
    """As tandem.client.request takes it. Raises RefusedParameter for a role that is not known."""
    for index, message in enumerate(messages):
        if message.role not in _ROLES:
            raise RefusedParameter(
                f"messages[{index}].role", f"messages of {message.role!r} are not supported", "unsupported_value"
            )
    return with_one_system_message([message.as_said() for message in messages])


def _choice(choice: Choice) -> tuple[str, list[str]]:
    """The mode, and the names of the only functions that may be called, if any."""
    if isinstance(choice, str):
        return choice, []
    if isinstance(choice, NamedTool):
        return "required", [choice.function.name]
    allowed = choice.allowed_tools
    return allowed.mode, [tool.function.name for tool in allowed.tools]
