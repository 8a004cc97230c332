"""From tokens to text, while they come."""

from __future__ import annotations

from collections.abc import Sequence

from services.engine.api import Tokenizer

_INCOMPLETE = "�"


class Detokenizer:
    """The text of a growing list of tokens, in increments of whole characters.

    Each step decodes a window of tokens: a byte-level tokenizer's text of a token depends on the tokens just before it, and
    decoding from the start each time would be quadratic. `is_resumed`: the prompt ends with the text's own tokens, maybe within a
    character, which has not been shown.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int], *, is_resumed: bool = False) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt_ids[-4:])
        shown = tokenizer.decode(self._ids)
        self._shown = shown.rstrip(_INCOMPLETE) if is_resumed else shown

    def push(self, token_id: int) -> str:
        """The text that `token_id` completes; empty while a character is incomplete."""
        self._ids.append(token_id)
        text = self._tokenizer.decode(self._ids)
        if text.endswith(_INCOMPLETE):
            return ""
        return self._advance(text)

    def flush(self) -> str:
        """The text that is still held back, with replacement characters for incomplete ones."""
        return self._advance(self._tokenizer.decode(self._ids))

    def _advance(self, text: str) -> str:
        new = text[len(self._shown) :]
        self._ids = self._ids[-4:]
        self._shown = self._tokenizer.decode(self._ids)
        return new
