"""What an API's counts of a request may be, from what was sent and what it was allowed to write."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic_core import to_json

from services.models.engine.writer import Writing
from tandem.method.request.prompts import Conversation
from tandem.method.tokens import TokenCounts

_ADDED_TOKENS = 512  # by the API's template, its own system prompt and its description of tools
_MORE_TOKENS = 1 << 21  # of what a caller only names: an image by its address, what the API searches for
_CHARACTERS_PER_TOKEN = 4  # of English


@dataclass(frozen=True, slots=True)
class CountBounds:
    """In tokens. No token of a prompt is shorter than a byte."""

    estimated_prompt: int
    prompt: int
    completion: int

    @classmethod
    def of(cls, writing: Writing) -> CountBounds:
        said = _all_said(writing.conversation, writing.earlier.text)
        if writing.native is not None:
            return cls(_estimated(said), len(to_json(writing.native)) + _MORE_TOKENS, writing.max_tokens)
        sent = len(said.encode(errors="surrogatepass")) + len(writing.json_schema.encode())
        return cls(_estimated(said), sent + _ADDED_TOKENS, writing.max_tokens)

    def can_hold(self, read: TokenCounts) -> bool:
        """Whether a prompt can have had so many tokens that were computed, cached, and put into a cache."""
        is_whole = min(read.prompt, read.cached, read.written, read.written_hour) >= 0
        return is_whole and read.written + read.written_hour <= read.prompt and read.read <= self.prompt


def estimated_tokens(conversation: Conversation) -> int:
    return _estimated(_all_said(conversation))


def _estimated(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def _all_said(conversation: Conversation, written: str = "") -> str:
    """All that a model reads of it: the tools, and each turn's role, content and calls."""
    turns = [*conversation.data.filled(list(conversation.tools)), *conversation.messages(written)]
    values = (value for turn in turns for value in turn.values())
    return "\n".join(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
