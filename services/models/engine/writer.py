"""What generation asks of any model: to write a text in a conversation.

An API does that by itself; `services.models.engine.token_writer` makes a Writer of an engine that reads tokens.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.models.engine.api import CacheUse, Finished, Token
from services.models.engine.call_format import CallFormat
from tandem.method.request.prompts import Conversation
from tandem.method.tokens import Sampling
from tandem.method.tools import ToolUse


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a writer can do beyond a free text. What it cannot, and would change the text's meaning, it refuses."""

    continues_schema: bool = True  # holds a text to a JSON schema that is begun
    exact_usage: bool = True  # counts itself, so that an attempt which was lost is no estimate


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier attempts wrote of the text."""

    text: str = ""
    ids: tuple[int, ...] = ()  # its tokens; of an API as many as it counted
    held: str = ""  # what of their text may be the beginning of a stop string, and so is not in `text`


@dataclass(frozen=True, slots=True)
class Writing:
    """One text to write: an answer, an insight, or calls of tools."""

    id: str  # unique among those that run
    conversation: Conversation
    max_tokens: int  # of this attempt; 0: only what the prompt needs is computed, and cached where there is a cache
    sampling: Sampling = field(default_factory=Sampling)
    json_schema: str = ""  # the text follows it; beside calls, a text without any does
    is_continued: bool = False  # the text begins with what is begun of the conversation's last turn
    tools: ToolUse = field(default_factory=ToolUse)
    may_call: bool = False
    stop_strings: tuple[str, ...] = ()
    earlier: Earlier = field(default_factory=Earlier)
    cache: CacheUse = field(default_factory=CacheUse)
    native: Mapping[str, Any] | None = None  # the caller's own body, for an API: sent in the conversation's place
    vendors_tools: tuple[str, ...] = ()  # that the vendor may run, by name
    on_sent: Callable[[int], None] = lambda tokens: None
    """Called with an estimate of the prompt's tokens before an API is asked, which may be paid whatever happens
    then.
    """
    on_event: Callable[[str], None] = lambda event: None
    """Called with each event of an API that is sent a body of the caller's own, as it came, once it has begun to write.
    """

    def messages(self) -> list[dict[str, Any]]:
        """For an API: the turns as values, the last of them with what is written of the text."""
        return self.conversation.messages(self.earlier.text)

    @property
    def begun(self) -> list[dict[str, Any]]:
        """Behind a caller's own conversation: the turn that earlier attempts have begun."""
        return [{"role": "assistant", "content": self.earlier.text}] if self.earlier.text else []


class Writer(Protocol):
    """A model as an author."""

    @property
    def can(self) -> Abilities: ...

    @property
    def calls(self) -> CallFormat:
        """How calls of tools stand in a text of this model. Raises PromptRefused where it cannot be given tools."""
        ...

    def write(self, writing: Writing) -> AsyncGenerator[Token | Finished, None]:
        """Stream the text token by token, of an API piece by piece, then exactly one Finished with the usage.

        Closing the generator early aborts, and so does `abort`, after which the Finished still comes.

        Raises EngineError: what `Engine.generate` raises, PromptRefused, and what an API's errors are.
        """
        ...

    def abort(self, request_id: str) -> bool:
        """As `RunningModel.abort`."""
        ...

    def num_tokens(self, conversation: Conversation) -> int:
        """Of the prompt; of an API an estimate."""
        ...

    def texts(self, conversation: Conversation, ids: Sequence[int]) -> Iterable[str]:
        """The text of each token of an earlier attempt; none of an API, which keeps its tokens to itself."""
        ...
