"""Constrained decoding: which tokens may come next in a text that is held to a JSON schema."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from services.models.engine.api import SchemaNotSupported
from services.models.engine.call_format import Grammar
from services.models.engine.json_schema import compiled, key_of

_MAX_BYTES = 256 << 20
_LEAST_BYTES = 4 << 20
"""Of a grammar, with what it grows by while texts are held to it."""
_MAX_TEXTS = 256
"""Copies of a grammar share the states that they find. After so many texts it is compiled again, so that it does not
grow for ever.
"""
_WORD_BITS = 32


class JsonTokenizer(Protocol):
    def to_json(self) -> str:
        """As the library `tokenizers` writes it. Raises ValueError for a tokenizer of another kind."""
        ...


class Matcher:
    """Where one text stands in its grammar. Only the engine's thread calls it.

    `failure` says why the text cannot go on under its schema; then the only token allowed is the end.
    """

    def __init__(self, matcher: LLMatcher, vocab_size: int, on_failure: Callable[[], None]) -> None:
        self._matcher, self._vocab_size, self._on_failure = matcher, vocab_size, on_failure
        self._words = np.zeros(-(-vocab_size // _WORD_BITS), np.int32)
        self.failure = ""

    def mask(self, logits: NDArray[np.float32]) -> None:
        """Set `logits`, float32[vocabulary], to -inf for every token that may not come next. Where the text is complete
        and nothing can follow, only the end remains.
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
        self._on_failure()  # what the copies share may have reached its limit


@dataclass(slots=True)
class _Compiled:
    matcher: LLMatcher
    num_bytes: int
    num_texts: int = 1


class Grammars:
    """Grammars for one tokenizer, compiled when needed. Its methods may be called from any thread, and none waits for a
    compilation of another.
    """

    def __init__(self, tokenizer: JsonTokenizer, eos_ids: Collection[int], max_bytes: int = _MAX_BYTES) -> None:
        self._tokenizer, self._eos_ids, self._max_bytes = tokenizer, sorted(eos_ids), max_bytes
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._compiled: OrderedDict[bytes, _Compiled] = OrderedDict()  # the least recently used first

    def matcher(self, schema: Grammar | str, written: Sequence[int], num_bytes: int = 0) -> Matcher:
        """For a text that follows `schema`, whose grammar takes `num_bytes`, and begins with the tokens `written`.

        Blocks: the first call takes seconds, a new schema as long as it took to try it. Raises InvalidSchema, and
        SchemaNotSupported where the tokenizer is of another kind, or `written` does not follow the schema.
        """
        key = key_of(schema)
        matcher = self._known(key)
        if matcher is None:
            matcher = compiled(self._vocabulary(), schema)
            self._keep(key, _Compiled(matcher.deep_copy(), max(num_bytes, _LEAST_BYTES)))
        if matcher.try_consume_tokens(list(written)) < len(written):
            raise SchemaNotSupported("the text to go on from does not follow the schema")
        return Matcher(matcher, self._vocabulary().vocab_size, partial(self._forget, key))

    def _known(self, key: bytes) -> LLMatcher | None:
        with self._lock:
            found = self._compiled.get(key)
            if found is None:
                return None
            self._compiled.move_to_end(key)
            found.num_texts += 1
            if found.num_texts >= _MAX_TEXTS:
                del self._compiled[key]
            return found.matcher.deep_copy()

    def _keep(self, key: bytes, grammar: _Compiled) -> None:
        with self._lock:
            self._compiled[key] = grammar
            while len(self._compiled) > 1 and sum(kept.num_bytes for kept in self._compiled.values()) > self._max_bytes:
                self._compiled.popitem(last=False)

    def _forget(self, key: bytes) -> None:
        with self._lock:
            self._compiled.pop(key, None)

    def _vocabulary(self) -> LLTokenizer:
        with self._loading:
            return self._loaded

    @cached_property
    def _loaded(self) -> LLTokenizer:
        try:
            return LLTokenizer(self._tokenizer.to_json(), eos_token=self._eos_ids)
        except ValueError as error:
            raise SchemaNotSupported(f"this model's tokenizer cannot be held to a schema: {error}") from error
