"""Chat messages as "token ids", for an API that takes messages and gives text: an id is a piece of text as a number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

# Two characters that no text has (private use): plain text loses them, so a question cannot end its message.
_ROLE, _CONTENT = "\ue000", "\ue001"
_NO_MARKS = str.maketrans({_ROLE: "�", _CONTENT: "�"})
_CHARACTERS_PER_ID = 4  # about a token of English


class MessageCodec:
    """A Tokenizer whose text goes back and forth without loss. Counts of ids are estimates of tokens."""

    def encode(self, text: str, *, plain: bool = False) -> list[int]:
        clean = text.translate(_NO_MARKS) if plain else text
        step = _CHARACTERS_PER_ID
        return [self.number(clean[i : i + step]) for i in range(0, len(clean), step)]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(_text(i) for i in ids)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(b"tandem messages 1").hexdigest()

    def render_chat(self, messages: Sequence[tuple[str, str]]) -> str:
        told = "".join(f"{_ROLE}{role}{_CONTENT}{content}" for role, content in messages)
        return f"{told}{_ROLE}assistant{_CONTENT}"

    def number(self, text: str) -> int:
        """The id of a piece of text, of any length."""
        return int.from_bytes(b"\x01" + text.encode())

    def messages(self, ids: Sequence[int]) -> list[tuple[str, str]]:
        """(role, content) of a rendered prompt; the assistant's own turn only where something is written in it."""
        turns = [part.partition(_CONTENT) for part in self.decode(ids).split(_ROLE)[1:]]
        return [(role, content) for role, _, content in turns if role != "assistant" or content]


def _text(number: int) -> str:
    return number.to_bytes((number.bit_length() + 7) // 8)[1:].decode()
