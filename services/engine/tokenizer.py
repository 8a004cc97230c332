"""A Hugging Face tokenizer behind the Engine's Tokenizer protocol, and incremental detokenisation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from jinja2 import TemplateError
from transformers import AutoTokenizer

from services.engine.api import PromptRefused, Tokenizer

_INCOMPLETE = "�"


class ChatTokenizer:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises OSError where `folder` has no tokenizer."""
        return cls(AutoTokenizer.from_pretrained(folder))

    @cached_property
    def sha256(self) -> str:
        content = [sorted(self._tokenizer.get_vocab().items()), self._tokenizer.chat_template]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def hugging_face(self) -> Any:
        """The tokenizer of transformers."""
        return self._tokenizer

    def encode(self, text: str, *, plain: bool = False) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=plain).input_ids)

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def render_chat(self, messages: Sequence[tuple[str, str]]) -> str:
        turns = [{"role": role, "content": content} for role, content in messages]
        try:
            text: str = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError as error:  # some templates want no system message, or turns that alternate
            raise PromptRefused(f"the model's chat template does not take these messages: {error}") from error
        return text


class Detokenizer:
    """The text of a growing list of tokens, in increments of whole characters.

    Each step decodes a window of tokens: a byte-level tokenizer's text of a token depends on the tokens just before it, and
    decoding from the start each time would be quadratic.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = list(prompt_ids[-4:])
        self._shown = tokenizer.decode(self._ids)

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
