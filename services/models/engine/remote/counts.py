"""What an API's counts of a request may be, from what was sent and what it was allowed to write."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pydantic_core import to_json

from services.models.engine.writer import Writing
from tandem.method.cost.sent import Sent, sent_in
from tandem.method.request.prompts import Conversation
from tandem.method.tokens import TokenCounts

_CHARACTERS_PER_TOKEN = 4  # of English


@dataclass(frozen=True, slots=True)
class CountBounds:
    """In tokens."""

    estimated_prompt: int
    prompt: int
    completion: int

    @classmethod
    def of(cls, writing: Writing) -> CountBounds:
        said = _all_said(writing.conversation, writing.earlier.text)
        sent = _sent(writing, said)
        return cls(_estimated(said) + sent.likely, sent.most_tokens, writing.max_tokens)

    def believed(self, reported: TokenCounts) -> TokenCounts:
        """A prompt's counts as far as they can be true: at most the bound. Counts that contradict each other tell
        nothing; then it is the estimate.
        """
        is_whole = min(reported.prompt, reported.cached, reported.written, reported.written_hour) >= 0
        if not is_whole or reported.written + reported.written_hour > reported.prompt:
            return TokenCounts(self.estimated_prompt)
        return reported.reading(self.prompt)


def estimated_tokens(conversation: Conversation) -> int:
    return _estimated(_all_said(conversation))


def _sent(writing: Writing, said: str) -> Sent:
    if writing.native is None:
        return Sent(_bytes(said) + _bytes(writing.json_schema))
    sent = sent_in(writing.native, len(to_json(writing.native)), writing.vendors_tools)
    return Sent(sent.text + _bytes(writing.earlier.text), sent.others, sent.likely)


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _estimated(text: str) -> int:
    return -(-len(text) // _CHARACTERS_PER_TOKEN)


def _all_said(conversation: Conversation, written: str = "") -> str:
    """All that a model reads of it: the tools, and each turn's role, content and calls."""
    turns = [*conversation.data.filled(list(conversation.tools)), *conversation.messages(written)]
    values = (value for turn in turns for value in turn.values())
    return "\n".join(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
