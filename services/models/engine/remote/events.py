"""The events of both protocols as typed values: all that is read of a stream. What does not fit is one error."""

from __future__ import annotations

from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.models.engine.api import ApiBadReply, ApiUnavailable

MOST_CALLS = 128
_MOST_CHOICES = 16
_SHOWN = 1000  # characters of what an API says
Name = Annotated[str, Field(max_length=256)]


class _Part(BaseModel):
    """A text is no number, and nothing is left out that a count needs; what is not named here is ignored."""

    model_config = ConfigDict(strict=True)


class Event(_Part):
    error: Any = None


class _Function(_Part):
    name: Name | None = None
    arguments: str | None = None


class _Call(_Part):
    index: int | None = None
    function: _Function | None = None


class _ChoiceDelta(_Part):
    content: str | None = None
    tool_calls: Annotated[list[_Call], Field(max_length=MOST_CALLS)] | None = None


class _Choice(_Part):
    delta: _ChoiceDelta
    finish_reason: Name | None = None


class _CachedTokens(_Part):
    cached_tokens: int | None = None


class _Usage(_Part):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _CachedTokens | None = None


class _Timings(_Part):
    """llama-server's: of the prompt what it computed and what it had in its cache, and what it wrote."""

    prompt_n: int = 0
    cache_n: int = 0
    predicted_n: int = 0


class OpenAIEvent(Event):
    """platform.openai.com/docs/api-reference/chat-streaming, with llama-server's `timings`."""

    model: Name | None = None
    choices: list[_Choice] = Field(default=[], max_length=_MOST_CHOICES)
    usage: _Usage | None = None
    timings: _Timings | None = None


class AnthropicUsage(_Part):
    output_tokens: int
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Message(_Part):
    model: Name
    usage: AnthropicUsage


class _Block(_Part):
    type: Name
    name: Name = ""


class _Delta(_Part):
    type: Name = ""
    text: str = ""
    partial_json: str = ""
    stop_reason: Name | None = None


_NEEDED = {
    "message_start": ("message",),
    "content_block_start": ("index", "content_block"),
    "content_block_delta": ("index", "delta"),
    "message_delta": ("delta", "usage"),
}


class AnthropicEvent(Event):
    """docs.claude.com/en/docs/build-with-claude/streaming; which fields are there follows from the type."""

    type: Name
    index: int | None = None
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: AnthropicUsage | None = None

    @model_validator(mode="after")
    def _has_what_its_type_needs(self) -> Self:
        if missing := [name for name in _NEEDED.get(self.type, ()) if getattr(self, name) is None]:
            raise ValueError(f"{self.type} has no {missing[0]}")
        return self


E = TypeVar("E", bound=Event)


def read_event(kind: type[E], data: bytes) -> E:
    """Raises ApiBadReply, and ApiUnavailable where the event is the API's error."""
    try:
        event = kind.model_validate_json(data)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise ApiBadReply(f"the API sends an event that is none of its protocol: {place}: {wrong['msg']}") from None
    if event.error:
        raise ApiUnavailable(f"the API fails: {said_in(event.error)}")
    return event


def said_in(error: Any) -> str:
    """What the error of a reply says, shortened."""
    message = error.get("message") if isinstance(error, dict) else None
    return str(message or error)[:_SHOWN]
