"""The body of POST /v1/responses, as the chat that it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tandem.client.contract import MOST_COUNT, MOST_MESSAGES, MOST_TOOLS
from tandem.openai.body import ApiBody, Hint, NotText, Part, Strict, Unread
from tandem.openai.chat_request import ChatCompletionRequest, JsonSchema, ResponseFormat, TandemOptions
from tandem.openai.parameters import RESPONSES, Table
from tandem.openai.tools import CalledFunction, FunctionBody, OtherTool


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

    def as_chat(self) -> dict[str, Any]:
        parts = self.content
        return {"role": self.role, "content": parts if isinstance(parts, str) else "\n".join(p.text for p in parts)}


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

    def as_chat(self) -> dict[str, Any]:
        function = {"name": _joined_name(self.namespace, self.name), "arguments": self.arguments}
        call = {"id": self.call_id, "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [call]}


class InputOutput(_Repeated):
    """The result of a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[InputPart | OtherInput]
    id: str = ""
    status: str = ""

    def as_chat(self) -> dict[str, Any]:
        parts = self.output
        text = parts if isinstance(parts, str) else "\n".join(part.text for part in parts)
        return {"role": "tool", "tool_call_id": self.call_id, "content": text}


class InputReasoning(Unread):
    """What a model thought before an earlier reply."""

    type: Literal["reasoning"]

    def as_chat(self) -> None:
        return None


class InputOther(NotText):
    """A call of a tool that is no function, or its result."""

    read = ("message", "function_call", "function_call_output", "reasoning")

    def as_chat(self) -> dict[str, Any]:
        return {"role": "user" if self.type.endswith("_output") else "assistant", "content": self.text}


class ResponsesTool(FunctionBody):
    type: Literal["function"]

    def as_chat(self) -> dict[str, Any]:
        return {"type": "function", "function": self.model_dump(exclude={"type"})}


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

    def as_chat(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": _joined_name(self.namespace, self.name)}}


class ResponsesAllowed(Strict):
    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[ResponsesNamed]

    def as_chat(self) -> dict[str, Any]:
        return {
            "type": "allowed_tools",
            "allowed_tools": {"mode": self.mode, "tools": [tool.as_chat() for tool in self.tools]},
        }


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

    def as_response_format(self) -> ResponseFormat:
        if self.schema_ is None:
            return ResponseFormat(type=self.type)
        schema = JsonSchema(name=self.name, schema=self.schema_, description=self.description, strict=self.strict)
        return ResponseFormat(type=self.type, json_schema=schema)


class TextOptions(Part):
    format: TextFormat = TextFormat()


class Reasoning(Part):
    """Its fields are hints."""

    @property
    def effort(self) -> Any:
        return (self.model_extra or {}).get("effort")


def _joined_name(namespace: str, name: str) -> str:
    return f"{namespace}__{name}" if namespace else name


def _joined(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One message of the assistant's for its text and the calls after it, which are items of their own here."""
    joined: list[dict[str, Any]] = []
    for message in said:
        last = joined[-1] if joined else {}
        if message.get("tool_calls") and last.get("role") == "assistant":
            joined[-1] = {**last, "tool_calls": [*last.get("tool_calls", []), *message["tool_calls"]]}
        else:
            joined.append(message)
    return joined


Item = InputMessage | InputCall | InputOutput | InputReasoning | InputOther


class ResponsesRequest(ApiBody):
    """What becomes of any other parameter, tandem.openai.parameters says."""

    parameters: ClassVar[Table] = RESPONSES
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
    tool_choice: Literal["auto", "none", "required"] | ResponsesNamed | ResponsesAllowed = "auto"
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning = Reasoning()
    user: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)
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
            "reasoning": {"effort": self.reasoning.effort, "summary": None},
            "temperature": self.temperature or 0.0,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "text": {"format": self.text.format.as_data()},
            "tools": [tool.model_dump() for tool in self.tools],
            "tool_choice": self.tool_choice if isinstance(self.tool_choice, str) else self.tool_choice.model_dump(),
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "metadata": self.metadata,
        }

    def as_chat(self) -> ChatCompletionRequest:
        """Raises pydantic.ValidationError."""
        said: list[dict[str, Any]] = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            said.append({"role": "user", "content": self.input})
        else:
            said += _joined([chat for item in self.input if (chat := item.as_chat())])
        return ChatCompletionRequest.model_validate(
            {
                "model": self.model,
                "messages": said,
                "stream": self.stream,
                "max_completion_tokens": self.max_output_tokens,
                "temperature": self.temperature,
                "top_p": self.top_p,
                "response_format": self.text.format.as_response_format(),
                "tools": [tool.as_chat() for tool in self._functions],
                "tool_choice": self.tool_choice if isinstance(self.tool_choice, str) else self.tool_choice.as_chat(),
                "parallel_tool_calls": self.parallel_tool_calls,
                "user": self.user,
                "metadata": self.metadata,
                "tandem": self.tandem,
                "reasoning_effort": self.reasoning.effort,
            }
        )
