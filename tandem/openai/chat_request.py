"""The body of POST /v1/chat/completions, and the request that it becomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import dropwhile
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from tandem.client.contract import MOST_CALLS, MOST_COUNT, MOST_MESSAGES, MOST_TOOLS, Count, Seed
from tandem.client.request import SolveOptions, solve_request
from tandem.method.conversation import Task
from tandem.method.tokens import EFFORTS
from tandem.openai.body import ApiBody, NotText, Part, Strict
from tandem.openai.parameters import CHAT, RefusedParameter, Table
from tandem.openai.tools import CallBody, Choice, OtherTool, ToolBody, as_options
from tandem.v1 import tandem_pb2

_MOST_METADATA = 16
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


class TextPart(Part):
    type: Literal["text"]
    text: str


class OtherPart(NotText):
    """An image, a sound or a file."""

    read = ("text",)


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
            raise ValueError("a message of a tool has the tool_call_id that it is the result of, and no other has one")
        return self

    def as_said(self) -> dict[str, Any]:
        """As tandem.request takes it; its role is known."""
        calls = [call.as_said() for call in self.tool_calls]
        said = {"role": _ROLES[self.role], "content": self.text, "tool_call_id": self.tool_call_id}
        return said | ({"tool_calls": calls} if calls else {})

    @property
    def text(self) -> str:
        parts = self.content
        return parts if isinstance(parts, str) else "\n".join(part.text for part in parts)


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
        """The JSON schema, which has the given name and description where it has none; empty for plain text."""
        if self.type == "text":
            return ""
        if self.json_schema is None:
            return '{"type": "object"}'
        said = {"title": self.json_schema.name, "description": self.json_schema.description}
        return json.dumps({**{key: text for key, text in said.items() if text}, **self.json_schema.schema_})

    @model_validator(mode="after")
    def _check(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to the type json_schema")
        return self


class TandemOptions(Strict):
    """What OpenAI's API has no name for; each as in tandem.v1.SolveRequest."""

    task: Task | None = None
    threshold: float | None = None
    thresholds: dict[Count, float] | None = None
    max_stage: Count | None = None
    max_cost_usd: float | None = None
    max_llm_tokens: Count | None = None
    checks: list[str] = Field(default_factory=list)
    keep_running: bool = False
    tenant: str = ""
    session: str = ""
    max_session_usd: float | None = None


class ChatCompletionRequest(ApiBody):
    """What becomes of any other parameter, tandem.openai.parameters says."""

    parameters: ClassVar[Table] = CHAT
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
    metadata: dict[
        Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]
    ] = Field(default_factory=dict, max_length=_MOST_METADATA)
    tandem: TandemOptions = TandemOptions()

    def as_solve_request(self, request_id: str) -> tandem_pb2.SolveRequest:
        """Raises RefusedParameter."""
        own = self.tandem
        profile, threshold = _model(self.model, own.threshold)
        choice, allowed = as_options(self.tool_choice)
        tools = [tool.function.as_offered() for tool in self.tools if isinstance(tool, ToolBody)]
        options = SolveOptions(
            profile=profile,
            request_id=request_id,
            threshold=threshold,
            thresholds=own.thresholds,
            max_stage=own.max_stage,
            max_cost_usd=own.max_cost_usd,
            max_llm_tokens=own.max_llm_tokens,
            max_answer_tokens=self._max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            effort=self._effort,
            stop=self.stop,
            tenant=own.tenant,
            checks=own.checks,
            json_schema=self.response_format.as_text(),
            keep_running=own.keep_running,
            tools=tools,
            parallel_tool_calls=self.parallel_tool_calls,
            tool_choice=choice,
            allowed_tools=allowed,
            session=own.session,
            max_session_usd=own.max_session_usd,
        )
        if not tools and self.tool_choice not in ("auto", "none"):
            raise RefusedParameter("tool_choice", "a call is required, and there are no tools", "invalid_value")
        if own.task is not None:
            options["task"] = own.task
        return solve_request(as_conversation(self.messages), **options)

    @property
    def _effort(self) -> str | None:
        given = (self.model_extra or {}).get("reasoning_effort")
        return given if given in EFFORTS else None

    @property
    def _max_tokens(self) -> int | None:
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            raise RefusedParameter(
                "max_tokens", "max_tokens and max_completion_tokens differ: give one", "invalid_value"
            )
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def as_conversation(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """As tandem.request takes it. Raises RefusedParameter for a role that is not known."""
    for index, message in enumerate(messages):
        if message.role not in _ROLES:
            raise RefusedParameter(
                f"messages[{index}].role", f"messages of {message.role!r} are not supported", "unsupported_value"
            )
    return _with_one_system_message([message.as_said() for message in messages])


def _with_one_system_message(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Agents say instructions and a system prompt in messages of their own, and more where the model is to correct
    itself. A chat template takes one at the beginning: the first ones are joined, and a later one is read as the
    user's.
    """
    rest = list(dropwhile(lambda message: message["role"] == "system", said))
    system = [message["content"] for message in said[: len(said) - len(rest)]]
    rest = [{**message, "role": "user"} if message["role"] == "system" else message for message in rest]
    return [*([{"role": "system", "content": "\n\n".join(system)}] if system else []), *rest]


def _model(name: str, threshold: float | None) -> tuple[str, float | None]:
    """Of `profile` or `profile@threshold`, beside the threshold of the body's own options."""
    named, is_given, said = name.partition("@")
    if not is_given:
        return name, threshold
    try:
        own = float(said)
    except ValueError:
        raise RefusedParameter("model", f"{said!r} is no threshold: 0 to 1", "invalid_value") from None
    if threshold not in (None, own):
        message = f"the model {name!r} names the threshold {own:g}, and tandem.threshold is {threshold:g}: give one"
        raise RefusedParameter("tandem.threshold", message, "invalid_value")
    return named, own
