"""Tokenizers behind the Engine's protocol: one from its files alone, and those of transformers, of any kind.

transformers and torch take seconds to import, and half a gigabyte, so they are imported where they are used.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tokenizers import Tokenizer as RustTokenizer
from tokenizers.models import BPE, Unigram

from services.models.engine.api import PromptRefused

if TYPE_CHECKING:
    from services.models.engine.call_format import CallFormat, Turn
    from services.models.engine.chat_template import ChatTemplate

_FILE, _CONFIG, _TEMPLATE = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")  # that a chat template may name


class FileTokenizer:
    """Behaves as ChatTokenizer of the same folder."""

    def __init__(self, tokenizer: RustTokenizer, config: Mapping[str, Any], template: str | None) -> None:
        """`config` has the special tokens by name, each a text or a mapping with `content`."""
        self._tokenizer, self._template = tokenizer, template
        keep_no_words(tokenizer)
        self._reading = threading.Lock()
        self._special = {name: _text(config[name]) for name in _SPECIAL_TOKENS if config.get(name)}

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises OSError where `folder` has no tokenizer."""
        if not (folder / _FILE).is_file():
            raise OSError(f"there is no {_FILE} in {folder}: run `tandem models pull`")
        config_file, template_file = folder / _CONFIG, folder / _TEMPLATE
        config = json.loads(config_file.read_text()) if config_file.is_file() else {}
        template = template_file.read_text() if template_file.is_file() else config.get("chat_template")
        return cls(RustTokenizer.from_file(str(folder / _FILE)), config, template)

    @cached_property
    def sha256(self) -> str:
        return digest(self._tokenizer.get_vocab(), self._template)

    def to_json(self) -> str:
        return json_of(self._tokenizer)

    def encode(self, text: str, *, plain: bool = False) -> list[int]:
        with self._reading:  # one tokenizer for both readings: a copy takes as long as to load it, and 60 MB
            self._tokenizer.encode_special_tokens = plain
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return _decoded(ids, self._decode, self._shown)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    @cached_property
    def _shown(self) -> dict[int, str]:
        return _of_calls(self._chat, self._tokenizer.get_added_tokens_decoder())

    def render_chat(self, messages: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str:
        return self._chat.render(messages, tools)

    @property
    def calls(self) -> CallFormat:
        added = {token.content: number for number, token in self._tokenizer.get_added_tokens_decoder().items()}
        return _readable(self._chat.calls, self, added)

    @cached_property
    def _chat(self) -> ChatTemplate:
        return _chat_template(self._template, self._special)


class ChatTokenizer:
    """One of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises OSError where `folder` has no tokenizer."""
        from transformers import AutoTokenizer

        return cls(AutoTokenizer.from_pretrained(folder))

    @cached_property
    def sha256(self) -> str:
        return digest(self._tokenizer.get_vocab(), self._tokenizer.chat_template)

    def to_json(self) -> str:
        """As the library `tokenizers` writes it. Raises ValueError for a tokenizer that is not its."""
        from transformers import PreTrainedTokenizerFast

        if not isinstance(self._tokenizer, PreTrainedTokenizerFast):
            raise ValueError("the tokenizer is not one of the library tokenizers")
        return json_of(self._tokenizer.backend_tokenizer)

    def encode(self, text: str, *, plain: bool = False) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=plain).input_ids)

    def decode(self, ids: Sequence[int]) -> str:
        return _decoded(ids, self._decode, self._shown)

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    @cached_property
    def _shown(self) -> dict[int, str]:
        return _of_calls(self._chat, self._tokenizer.added_tokens_decoder)

    def render_chat(self, messages: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str:
        return self._chat.render(messages, tools)

    @property
    def calls(self) -> CallFormat:
        return _readable(self._chat.calls, self, self._tokenizer.get_added_vocab())

    @cached_property
    def _chat(self) -> ChatTemplate:
        special = {name: getattr(self._tokenizer, name) for name in _SPECIAL_TOKENS}
        return _chat_template(self._tokenizer.chat_template, {name: token for name, token in special.items() if token})


def keep_no_words(tokenizer: RustTokenizer) -> None:
    """The library keeps the first 10,000 words, up to 8 kB each, for each thread and tokenizer: a process grows by
    them. Without them a text takes a sixth longer.
    """
    if isinstance(tokenizer.model, BPE | Unigram):
        tokenizer.model._resize_cache(0)


def digest(vocabulary: Mapping[str, int], template: str | None) -> str:
    """Of a tokenizer: sha256 of vocabulary and chat template."""
    return hashlib.sha256(json.dumps([sorted(vocabulary.items()), template]).encode()).hexdigest()


def json_of(tokenizer: RustTokenizer) -> str:
    """Without padding and truncation, which are no part of the vocabulary."""
    bare = copy(tokenizer)
    bare.no_padding()
    bare.no_truncation()
    return str(bare.to_str())


def _chat_template(text: str | None, special: Mapping[str, str]) -> ChatTemplate:
    from services.models.engine.chat_template import ChatTemplate  # a gateway counts tokens, and has no templates

    return ChatTemplate(text, special)


def _of_calls(chat: ChatTemplate, added: Mapping[int, Any]) -> dict[int, str]:
    """The special tokens that calls are written with, by their ids: a text has them, and no other special ones."""
    try:
        written = chat.calls.written
    except PromptRefused:
        return {}
    return {number: token.content for number, token in added.items() if token.special and token.content in written}


def _decoded(ids: Sequence[int], decode: Callable[[list[int]], str], shown: Mapping[int, str]) -> str:
    if not any(number in shown for number in ids):
        return decode(list(ids))
    runs = [list(run) for _, run in groupby(ids, key=shown.get)]
    return "".join("".join(map(shown.__getitem__, run)) if run[0] in shown else decode(run) for run in runs)


def _readable(calls: CallFormat, tokenizer: FileTokenizer | ChatTokenizer, added: Mapping[str, int]) -> CallFormat:
    """With its tokens, of those that were `added` to the vocabulary. Raises PromptRefused where the tokenizer does not
    write such calls.
    """
    if tokenizer.decode(tokenizer.encode(calls.written)) != calls.written:
        raise PromptRefused(
            "the model writes calls of tools with tokens whose text is another one, which is not supported"
        )
    own = [(token, number) for token, number in added.items() if token in calls.written]
    return replace(calls, tokens=tuple(sorted(own, key=lambda each: calls.written.index(each[0]))))


def _text(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])
