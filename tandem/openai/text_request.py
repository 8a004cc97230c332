"""The body of POST /v1/completions, OpenAI's older API: a text, as the only message of a chat."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from tandem.client.contract import MOST_COUNT
from tandem.openai.body import ApiBody
from tandem.openai.chat_request import ChatCompletionRequest, StreamOptions, TandemOptions
from tandem.openai.parameters import COMPLETIONS, Table

_DEFAULT_TOKENS = 16  # OpenAI's


class TextCompletionRequest(ApiBody):
    """What becomes of any other parameter, tandem.openai.parameters says."""

    parameters: ClassVar[Table] = COMPLETIONS

    model: str
    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    max_tokens: int = Field(default=_DEFAULT_TOKENS, gt=0, le=MOST_COUNT)
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] = Field(default_factory=list)
    user: str = ""
    tandem: TandemOptions = TandemOptions()

    def as_chat(self) -> ChatCompletionRequest:
        """Raises pydantic.ValidationError."""
        text = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        same: dict[str, Any] = self.model_dump(include=set(type(self).model_fields) - {"prompt"})
        return ChatCompletionRequest.model_validate({**same, "messages": [{"role": "user", "content": text}]})
