"""Chat messages as token ids, for an API that takes messages and returns text. An id encodes a few characters as a number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from services.engine.api import PromptRefused
from services.engine.call_format import CallFormat, Turn

# Two private-use characters. They are replaced in plain text, so a question cannot end its message.
_ROLE, _CONTENT = "\ue000", "\ue001"
_NO_MARKS = str.maketrans({_ROLE: "�", _CONTENT: "�"})
_NO_TOOLS = "a model behind an API is not given tools yet"
_CHARACTERS_PER_ID = 4  # about a token of English


class MessageCodec:
    """A Tokenizer that loses no text. The number of ids is an estimate of the number of tokens."""

    def encode(self, text: str, *, plain: bool = False) -> list[int]:
        clean = text.translate(_NO_MARKS) if plain else text
        step = _CHARACTERS_PER_ID
        return [self.number(clean[i : i + step]) for i in range(0, len(clean), step)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(_text(i) for i in ids)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(b"tandem messages 1").hexdigest()

    def render_chat(self, messages: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str:
        said = [message for message in messages if isinstance(message, tuple)]
        if tools or len(said) < len(messages):
            raise PromptRefused(_NO_TOOLS)
        turns = "".join(f"{_ROLE}{role}{_CONTENT}{content}" for role, content in said)
        return f"{turns}{_ROLE}assistant{_CONTENT}"

    @property
    def calls(self) -> CallFormat:
        raise PromptRefused(_NO_TOOLS)

    def number(self, text: str) -> int:
        """The id of a text of any length."""
        return int.from_bytes(b"\x01" + text.encode())

    def messages(self, ids: Sequence[int]) -> list[tuple[str, str]]:
        """(role, content) of each turn of a rendered prompt. The assistant's last turn is left out where it is empty."""
        turns = [part.partition(_CONTENT) for part in self.decode(ids).split(_ROLE)[1:]]
        return [(role, content) for role, _, content in turns if role != "assistant" or content]


def _text(number: int) -> str:
    return number.to_bytes((number.bit_length() + 7) // 8)[1:].decode()
