"""Keys and values inside llama.cpp, and passes over them. A row of the cache is a sequence of llama.cpp's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.models.engine.llamacpp.library import in_pass
from services.models.engine.loop.prefix_cache import KeysValues
from services.models.engine.loop.runner import Chunk, Interrupted

_TO_THE_END = -1
_INTERRUPTED = 2
_FIRST_TOKENS = 4096  # of a context that grows
_TENSOR_BYTES = 1024  # more than the struct has


class LlamaContext:
    """The rows have one pool of cells: a row that is copied from another shares its cells. One thread at a time may use
    it.
    """

    def __init__(
        self, interface: Any, library: Any, pointer: Any, interrupt: LlamaInterrupt, max_step: int, vocabulary_size: int
    ) -> None:
        """`pointer` is a llama_context whose passes have at most `max_step` tokens; `close` frees it.

        `interrupt`, which it was made with, ends a pass.
        """
        self._interface, self._library, self._pointer = interface, library, pointer
        self.interrupt = interrupt
        self._memory = library.llama_get_memory(pointer)
        self._vocabulary_size = vocabulary_size
        self._batch = _Batch(interface, max_step)

    def run(self, chunks: Sequence[Chunk], tokens: Sequence[int], outputs: Sequence[int]) -> NDArray[np.float32]:
        """One pass over the concatenated `tokens` of `chunks`: the logits at the tokens of indices `outputs`.

        float32[outputs, vocabulary], in the library's memory, which the next pass overwrites. Raises Interrupted.
        """
        for chunk in chunks:
            self._cut(chunk.row, chunk.start)
        with in_pass():
            code = self._library.llama_decode(self._pointer, self._batch.fill(chunks, tokens, outputs))
        self.interrupt.clear()
        if code == _INTERRUPTED:
            raise Interrupted
        if code:
            raise RuntimeError(f"llama.cpp cannot compute a pass over {len(tokens)} tokens (code {code})")
        shape = (len(outputs), self._vocabulary_size)
        if not outputs:
            return np.empty(shape, np.float32)
        size = shape[0] * shape[1] * np.dtype(np.float32).itemsize
        logits = self._library.llama_get_logits(self._pointer)
        return np.frombuffer(self._interface.buffer(logits, size), np.float32).reshape(shape)

    def copy_row(self, source: int, target: int, length: int) -> None:
        self._cut(target, 0)
        self._library.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def extract(self, row: int, length: int) -> KeysValues:
        """The first `length` tokens of `row`, which loses what follows them."""
        self._cut(row, length)
        size = self._library.llama_state_seq_get_size(self._pointer, row)
        state = np.empty(size, np.uint8)
        target = self._interface.cast("uint8_t *", state.ctypes.data)
        self._library.llama_state_seq_get_data(self._pointer, target, size, row)
        return [(state,)]

    def insert(self, row: int, keys_values: KeysValues, length: int) -> None:
        [(state,)] = keys_values
        self._cut(row, 0)
        source = self._interface.cast("uint8_t *", state.ctypes.data)
        if not self._library.llama_state_seq_set_data(self._pointer, source, state.nbytes, row):
            raise RuntimeError("llama.cpp has no room for a text's keys and values")
        self._cut(row, length)

    def drop_row(self, row: int) -> None:
        self._cut(row, 0)

    def close(self) -> None:
        """Free it; once more is nothing."""
        pointer, self._pointer = self._pointer, self._interface.NULL
        self._library.llama_free(pointer)

    def _cut(self, row: int, length: int) -> None:
        """Drop what follows the first `length` tokens of `row`."""
        self._library.llama_memory_seq_rm(self._memory, row, length, _TO_THE_END)


class _Batch:
    """The struct llama_batch, and the arrays that it points to."""

    def __init__(self, interface: Any, max_tokens: int) -> None:
        # The library reads these arrays; numpy owns them.
        self._tokens, self._positions, self._rows = (np.zeros(max_tokens, np.int32) for _ in range(3))
        self._counts, self._outputs = np.ones(max_tokens, np.int32), np.zeros(max_tokens, np.int8)
        rows = interface.cast("int32_t *", self._rows.ctypes.data)
        self._pointers = interface.new("int32_t *[]", [rows + index for index in range(max_tokens)])
        self._struct = interface.new("llama_batch *")
        self._struct.token = interface.cast("int32_t *", self._tokens.ctypes.data)
        self._struct.pos = interface.cast("int32_t *", self._positions.ctypes.data)
        self._struct.n_seq_id = interface.cast("int32_t *", self._counts.ctypes.data)
        self._struct.seq_id = self._pointers
        self._struct.logits = interface.cast("int8_t *", self._outputs.ctypes.data)

    def fill(self, chunks: Sequence[Chunk], tokens: Sequence[int], outputs: Sequence[int]) -> Any:
        """The struct, by value."""
        count = len(tokens)
        self._struct.n_tokens = count
        self._tokens[:count] = tokens
        self._positions[:count] = np.concatenate([np.arange(c.start, c.start + c.length) for c in chunks])
        self._rows[:count] = np.repeat([c.row for c in chunks], [c.length for c in chunks])
        self._outputs[:count] = 0
        self._outputs[outputs] = 1
        return self._struct[0]


class LlamaInterrupt:
    """llama.cpp asks a C function after each operation of a pass whether to go on. One of Python would wait for the
    interpreter.

    So that it need not, the function is `ggml_is_empty`: has this tensor a dimension of 0? The tensor is memory full of
    ones, until a pass shall end. `set` may be called from any thread.
    """

    def __init__(self, interface: Any, library: Any) -> None:
        self._tensor = np.ones(_TENSOR_BYTES // 8, np.int64)
        self.function = interface.cast("void *", library.ggml_is_empty)
        self.argument = interface.cast("void *", self._tensor.ctypes.data)

    def set(self) -> None:
        self._tensor[:] = 0

    def clear(self) -> None:
        self._tensor[:] = 1


class GrowingContext:
    """A LlamaContext for `max_tokens`, which begins with a few thousand. Where its rows come to more, a larger one
    takes its place, and what the rows hold moves there.
    """

    def __init__(self, make: Callable[[int, LlamaInterrupt | None], LlamaContext], max_tokens: int) -> None:
        """`make` makes a context for a number of tokens. Raises OSError as it does."""
        self._make, self._max_tokens = make, max_tokens
        self._tokens = min(_FIRST_TOKENS, max_tokens)
        self._context = make(self._tokens, None)
        self._lengths: dict[int, int] = {}  # of the rows; tokens that two rows share count twice

    @property
    def num_tokens(self) -> int:
        """For how many there is memory now."""
        return self._tokens

    def interrupt(self) -> None:
        """From any thread."""
        self._context.interrupt.set()

    def run(self, chunks: Sequence[Chunk], tokens: Sequence[int], outputs: Sequence[int]) -> NDArray[np.float32]:
        self._make_room({chunk.row: chunk.start + chunk.length for chunk in chunks})
        return self._context.run(chunks, tokens, outputs)

    def copy_row(self, source: int, target: int, length: int) -> None:
        self._make_room({target: length})
        self._context.copy_row(source, target, length)

    def extract(self, row: int, length: int) -> KeysValues:
        return self._context.extract(row, length)

    def insert(self, row: int, keys_values: KeysValues, length: int) -> None:
        self._make_room({row: length})
        self._context.insert(row, keys_values, length)

    def drop_row(self, row: int) -> None:
        self._lengths.pop(row, None)
        self._context.drop_row(row)

    def _make_room(self, lengths: dict[int, int]) -> None:
        """For rows that are about to have these lengths."""
        total = sum((self._lengths | lengths).values())
        if total > self._tokens < self._max_tokens:
            self._grow(total)
        self._lengths |= lengths

    def _grow(self, total: int) -> None:
        while self._tokens < total:
            self._tokens *= 2
        self._tokens = min(self._tokens, self._max_tokens)
        rows = {row: (self._context.extract(row, length), length) for row, length in self._lengths.items() if length}
        self._context.close()
        # The same interrupt: one that came meanwhile ends the pass that is to follow.
        self._context = self._make(self._tokens, self._context.interrupt)
        for row, (keys_values, length) in rows.items():
            self._context.insert(row, keys_values, length)
