"""OpenAI's Responses, the way in: the body of POST /v1/responses, what becomes of each parameter, and the gateway's
request that it becomes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tandem.client.contract import MOST_COUNT, MOST_MESSAGES, MOST_TOOLS
from tandem.openai.allow_list import CACHE_OF_OPENAI, MARKS, Kinds, Leaf, Shape, plain, text_or
from tandem.openai.body import ApiBody, Hint, Labels, NotText, Part, Strict, Unread, text_of
from tandem.openai.parameters import EFFORT, LOGPROBS, OF_OPENAI, STATELESS, TEXT_ONLY, Table, hint, hints, refused
from tandem.openai.schemas import ANY_OBJECT, schema_text
from tandem.openai.solve_request import (
    Message,
    Metadata,
    TandemOptions,
    known_effort,
    require_bounds,
    to_solve_request,
    translated,
)
from tandem.openai.tools import CalledFunction, FunctionBody, OtherTool, as_object
from tandem.v1 import tandem_pb2

# -- parameters that the body has no field for ------------------------------------------------------------------------

_IN_BACKGROUND = "use the gRPC API, or `tandem.keep_running`"
PARAMETERS: Table = {
    **OF_OPENAI,
    **hints("max_tool_calls access_programs stream_options context_management client_metadata input[type=reasoning]"),
    "include": hint([]),
    "truncation": hint("disabled"),
    "reasoning.effort": EFFORT,
    "input[].content[].annotations": hint([]),
    "input[].content[].logprobs": hint([]),
    "previous_response_id": STATELESS,
    "conversation": STATELESS,
    "input[type=item_reference]": STATELESS,
    "background": refused(_IN_BACKGROUND, False),
    "background_options": refused(_IN_BACKGROUND),
    "prompt": refused("there are no stored prompts: use `instructions`"),
    "image": TEXT_ONLY,
    "input[].content[type=*]": TEXT_ONLY,
    "input[].output[type=*]": TEXT_ONLY,
    "input[type=*]": refused("only calls of functions, and their results, are read here"),
    "top_logprobs": refused(LOGPROBS, 0),
    "stop": refused("use chat completions: answers of this API end by themselves", []),
    "max_tokens": refused("use `max_output_tokens`"),
}

# -- what an API of this protocol may be given ------------------------------------------------------------------------

_INPUT_PARTS = Kinds(
    {
        "input_text": {**plain("type text"), **MARKS},
        "output_text": {**plain("type text"), "annotations": Leaf.DATA, "logprobs": Leaf.DATA},
        "refusal": plain("type refusal"),
        "input_image": {**plain("type detail"), "image_url": Leaf.URL, "file_id": Leaf.ACCOUNT, **MARKS},
        "input_file": {
            **plain("type detail file_data filename"), "file_url": Leaf.URL, "file_id": Leaf.ACCOUNT, **MARKS
        },
        "input_audio": {"type": Leaf.PLAIN, "input_audio": plain("data format")},
    },
    is_content=True,
)  # fmt: skip
_CALLED = plain("type id call_id name namespace status")
_OUTPUT = {**plain("type id call_id name namespace status"), "output": text_or(_INPUT_PARTS)}
_THOUGHT = [plain("type text")]
_ITEMS = Kinds(
    {
        "message": {**plain("type role id status phase"), "content": text_or(_INPUT_PARTS)},
        "reasoning": {**plain("type id status encrypted_content"), "summary": _THOUGHT, "content": _THOUGHT},
        "function_call": {**_CALLED, "arguments": Leaf.PLAIN},
        "function_call_output": _OUTPUT,
        "custom_tool_call": {**_CALLED, "input": Leaf.PLAIN},
        "custom_tool_call_output": _OUTPUT,
        "local_shell_call": {**_CALLED, "action": {
            **plain("type command timeout_ms user working_directory"), "env": Leaf.NAMED}},
        "local_shell_call_output": _OUTPUT,
        "apply_patch_call": {**_CALLED, "operation": plain("type path diff")},
        "apply_patch_call_output": _OUTPUT,
    },
    is_content=True,
    default="message",
)  # fmt: skip
_FUNCTION = {**plain("type name description strict defer_loading"), "parameters": Leaf.SCHEMA}
_CUSTOM = {**plain("type name description defer_loading"), "format": Leaf.GRAMMAR}
_NAMED_TOOL = plain("type name namespace")
PASSED: Mapping[str, Shape] = {
    **plain("instructions temperature top_p parallel_tool_calls user safety_identifier truncation max_tool_calls"),
    **plain("include"),
    **CACHE_OF_OPENAI,
    "metadata": Leaf.NAMED,
    "reasoning": plain("effort summary generate_summary context"),
    "text": {"verbosity": Leaf.PLAIN, "format": {**plain("type name description strict"), "schema": Leaf.SCHEMA}},
    "input": text_or(_ITEMS),
    "tools": [
        Kinds(
            {
                "function": _FUNCTION,
                "custom": _CUSTOM,
                "namespace": {**plain("type name description"), "tools": [
                    Kinds({"function": _FUNCTION, "custom": _CUSTOM})]},
                "local_shell": plain("type"),  # the caller runs these
                "apply_patch": plain("type"),
            }
        )
    ],
    "tool_choice": (Leaf.PLAIN, {**_NAMED_TOOL, "mode": Leaf.PLAIN, "tools": [_NAMED_TOOL]}),
}  # fmt: skip

# -- the body ---------------------------------------------------------------------------------------------------------


class _Repeated(Part):
    """What a client repeats of an earlier reply has fields that are null."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class InputPart(_Repeated):
    """`output_text` is a part of an earlier reply."""

    type: Literal["input_text", "output_text"]
    text: str


class OtherInput(NotText):
    """An image or a file."""

    read = ("input_text", "output_text")


class InputMessage(_Repeated):
    """A message, of the user's or of an earlier reply, which has an id and a status."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[InputPart | OtherInput]
    id: str = ""
    status: str = ""

    def as_message(self) -> Message:
        return {"role": "system" if self.role == "developer" else self.role, "content": text_of(self.content)}


class InputCall(_Repeated):
    """A call of an earlier reply."""

    type: Literal["function_call"]
    call_id: str
    name: str
    namespace: str = ""
    arguments: str
    id: str = ""
    status: str = ""

    def hints(self) -> Iterator[Hint]:
        yield from super().hints()
        yield from CalledFunction(name=self.name, arguments=self.arguments).hints()

    def as_message(self) -> Message:
        function = {"name": _joined_name(self.namespace, self.name), "arguments": as_object(self.arguments)}
        call = {"id": self.call_id, "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [call]}


class InputOutput(_Repeated):
    """The result of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputPart | OtherInput]
    id: str = ""
    status: str = ""

    def as_message(self) -> Message:
        return {"role": "tool", "tool_call_id": self.call_id, "content": text_of(self.output)}


class InputReasoning(Unread):
    """What a model thought before an earlier reply."""

    type: Literal["reasoning"]

    def as_message(self) -> None:
        return None


class InputOther(NotText):
    """A call of a tool that is no function, or its result."""

    read = ("message", "function_call", "function_call_output", "reasoning")

    def as_message(self) -> Message:
        return {"role": "user" if self.type.endswith("_output") else "assistant", "content": self.text}


class ResponsesTool(FunctionBody):
    type: Literal["function"]


class NamespaceTool(Part):
    """Functions in a group. They are offered to models as `namespace__name`; their calls name both again."""

    type: Literal["namespace"]
    name: str
    description: str = ""
    tools: list[ResponsesTool | OtherTool]

    @property
    def functions(self) -> list[ResponsesTool]:
        named = [(tool, _joined_name(self.name, tool.name)) for tool in self.tools if isinstance(tool, ResponsesTool)]
        return [tool.model_copy(update={"name": name}) for tool, name in named]


class ResponsesNamed(Strict):
    type: Literal["function"]
    name: str
    namespace: str = ""

    @property
    def known_name(self) -> str:
        return _joined_name(self.namespace, self.name)


class ResponsesAllowed(Strict):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[ResponsesNamed]


Choice = Literal["auto", "none", "required"] | ResponsesNamed | ResponsesAllowed


class TextFormat(Strict):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str = ""
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    description: str = ""
    strict: bool | None = None

    def as_data(self) -> dict[str, Any]:
        if self.type != "json_schema":
            return {"type": self.type}
        return {
            "type": self.type,
            "name": self.name,
            "description": self.description or None,
            "schema": self.schema_,
            "strict": bool(self.strict),
        }

    def as_text(self) -> str:
        """The JSON schema; empty for plain text."""
        if self.schema_ is not None:
            return schema_text(self.schema_, self.name, self.description)
        return "" if self.type == "text" else schema_text(ANY_OBJECT)

    @model_validator(mode="after")
    def _check(self) -> TextFormat:
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise ValueError("json_schema belongs to the type json_schema")
        return self


class TextOptions(Part):
    format: TextFormat = TextFormat()


class Reasoning(Part):
    """Its fields are hints."""


Item = InputMessage | InputCall | InputOutput | InputReasoning | InputOther


class ResponsesRequest(ApiBody):
    """The body of POST /v1/responses."""

    parameters: ClassVar[Table] = PARAMETERS
    passed: ClassVar[Mapping[str, Shape]] = PASSED
    protocol: ClassVar[str] = "responses"

    model: str
    input: str | Annotated[list[Item], Field(max_length=MOST_MESSAGES)] = Field(min_length=1)
    instructions: str = ""
    stream: bool = False
    max_output_tokens: int | None = Field(default=None, gt=0, le=MOST_COUNT)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    text: TextOptions = TextOptions()
    tools: list[ResponsesTool | NamespaceTool | OtherTool] = Field(default_factory=list, max_length=MOST_TOOLS)
    tool_choice: Choice = "auto"
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning = Reasoning()
    user: str = ""
    metadata: Metadata = Field(default_factory=dict)
    tandem: TandemOptions = TandemOptions()

    @property
    def namespaces(self) -> dict[str, tuple[str, str]]:
        """Of functions in groups, by the name that models know: the group and the name."""
        groups = [tool for tool in self.tools if isinstance(tool, NamespaceTool)]
        return {each.name: (tool.name, each.name[len(tool.name) + 2 :]) for tool in groups for each in tool.functions}

    @property
    def _functions(self) -> list[ResponsesTool]:
        """With those of groups, in their order."""
        groups = [tool.functions if isinstance(tool, NamespaceTool) else [tool] for tool in self.tools]
        return [tool for group in groups for tool in group if isinstance(tool, ResponsesTool)]

    @property
    def repeated(self) -> dict[str, Any]:
        """What a response says of its request."""
        return {
            "instructions": self.instructions or None,
            "max_output_tokens": self.max_output_tokens,
            "reasoning": {"effort": self.reasoning.other("effort"), "summary": None},
            "temperature": self.temperature or 0.0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "text": {"format": self.text.format.as_data()},
            "tools": [tool.model_dump() for tool in self.tools],
            "tool_choice": self.tool_choice if isinstance(self.tool_choice, str) else self.tool_choice.model_dump(),
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "metadata": self.metadata,
        }

    @property
    def labels(self) -> Labels:
        return Labels(self.user, self.metadata)

    def as_solve_request(self, request_id: str) -> tandem_pb2.SolveRequest:
        """Raises RefusedParameter."""
        choice, allowed = _choice(self.tool_choice)
        tools = [tool.as_offered() for tool in self._functions]
        require_bounds("tools", tools, most=MOST_TOOLS)  # a group is one tool of the body's
        return to_solve_request(
            request_id,
            self.model,
            translated(self._conversation),
            self.tandem,
            max_answer_tokens=self.max_output_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            effort=known_effort(self.reasoning.other("effort")),
            json_schema=self.text.format.as_text(),
            tools=tools,
            tool_choice=choice,
            allowed_tools=allowed,
            parallel_tool_calls=self.parallel_tool_calls,
        )

    @property
    def _conversation(self) -> list[Message]:
        begun: list[Message] = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            return [*begun, {"role": "user", "content": self.input}]
        return [*begun, *_joined([message for item in self.input if (message := item.as_message())])]


# -- the gateway's request --------------------------------------------------------------------------------------------


def _joined(messages: list[Message]) -> list[Message]:
    """One message of the assistant's for its text and the calls after it, which are items of their own here."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else {}
        if message.get("tool_calls") and last.get("role") == "assistant":
            joined[-1] = {**last, "tool_calls": [*last.get("tool_calls", []), *message["tool_calls"]]}
        else:
            joined.append(message)
    return joined


def _joined_name(namespace: str, name: str) -> str:
    return f"{namespace}__{name}" if namespace else name


def _choice(choice: Choice) -> tuple[str, list[str]]:
    """The mode, and the names of the only functions that may be called, if any. Raises RefusedParameter where none of
    them may be.
    """
    if isinstance(choice, str):
        return choice, []
    if isinstance(choice, ResponsesNamed):
        return "required", [choice.known_name]
    require_bounds("tool_choice.allowed_tools.tools", choice.tools, least=1)
    return choice.mode, [tool.known_name for tool in choice.tools]
