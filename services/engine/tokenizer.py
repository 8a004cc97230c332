"""A tokenizer of transformers behind the Engine's Tokenizer protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from services.engine.api import PromptRefused
from services.engine.file_tokenizer import digest, json_of


class ChatTokenizer:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises OSError where `folder` has no tokenizer."""
        return cls(AutoTokenizer.from_pretrained(folder))

    @cached_property
    def sha256(self) -> str:
        return digest(self._tokenizer.get_vocab(), self._tokenizer.chat_template)

    @property
    def hugging_face(self) -> Any:
        """The tokenizer of transformers."""
        return self._tokenizer

    def to_json(self) -> str:
        """As the library `tokenizers` writes it. Raises ValueError for a tokenizer that is not its."""
        if not isinstance(self._tokenizer, PreTrainedTokenizerFast):
            raise ValueError("the tokenizer is not one of the library tokenizers")
        return json_of(self._tokenizer.backend_tokenizer)

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
