"""Constrained decoding: which tokens may come next in a text that is held to a JSON schema."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from services.engine.api import InvalidSchema, SchemaNotSupported
from services.engine.json_schema import grammar_of

_NUM_CACHED = 64
_WORD_BITS = 32


class JsonTokenizer(Protocol):
    def to_json(self) -> str:
        """As the library `tokenizers` writes it. Raises ValueError for a tokenizer of another kind."""
        ...


class Matcher:
    """Where one text stands in its grammar. Only the engine's thread calls it.

    `failure` says why the text cannot go on under its schema; then the only token allowed is the end.
    """

    def __init__(self, matcher: LLMatcher, vocab_size: int) -> None:
        self._matcher, self._vocab_size = matcher, vocab_size
        self._words = np.zeros(-(-vocab_size // _WORD_BITS), np.int32)
        self.failure = ""

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Set `logits`, float32[vocabulary], to -inf for every token that may not come next. Where the text is complete and
        nothing can follow, only the end remains.
        """
        self._matcher.unsafe_compute_mask_ptr(self._words.ctypes.data, self._words.nbytes)
        if self._matcher.is_error():
            self._fail()
        # A model's vocabulary may be padded beyond its tokenizer's.
        size = min(self._vocab_size, len(logits))
        allowed = np.unpackbits(self._words.view(np.uint8), bitorder="little", count=size)
        logits[:size][allowed == 0] = -np.inf
        logits[size:] = -np.inf

    def accept(self, token: int) -> None:
        """The text goes on with `token`."""
        if not self._matcher.consume_token(token):
            self._fail()

    def _fail(self) -> None:
        self.failure = self.failure or self._matcher.get_error().partition("\n")[0]


class Grammars:
    """Grammars for one tokenizer, each compiled once. Its methods may be called from any thread."""

    def __init__(self, tokenizer: JsonTokenizer, eos_ids: Collection[int]) -> None:
        self._tokenizer, self._eos_ids = tokenizer, sorted(eos_ids)
        self._lock = threading.Lock()
        self._compiled = lru_cache(_NUM_CACHED)(self._compile)

    def matcher(self, schema: str, written: Sequence[int]) -> Matcher:
        """For a text that follows `schema` and begins with the tokens `written`.

        Blocks: the first call takes seconds, a new schema milliseconds. Raises InvalidSchema, and SchemaNotSupported where
        the tokenizer is of another kind, or `written` does not follow the schema.
        """
        with self._lock:
            matcher = self._compiled(schema).deep_copy()
        if matcher.try_consume_tokens(list(written)) < len(written):
            raise SchemaNotSupported("the text to go on from does not follow the schema")
        return Matcher(matcher, self._vocabulary.vocab_size)

    def _compile(self, schema: str) -> LLMatcher:
        matcher = LLMatcher(self._vocabulary, grammar_of(schema), log_level=0)
        if matcher.is_error():
            raise InvalidSchema(f"the schema cannot be held: {matcher.get_error()}")
        return matcher

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        try:
            return LLTokenizer(self._tokenizer.to_json(), eos_token=self._eos_ids)
        except ValueError as error:
            raise SchemaNotSupported(f"this model's tokenizer cannot be held to a schema: {error}") from error
