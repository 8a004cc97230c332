"""Which tokens each step computes: continuous batching with chunked prefill and prefix reuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from services.models.engine.loop.prefix_cache import PrefixCache, common_prefix
from services.models.engine.loop.prefix_files import Beginnings
from services.models.engine.loop.request_queue import RequestQueue
from services.models.engine.loop.sequence import Sequence

_MIN_KEPT = 64  # tokens of tools, below which they are not worth a copy
_MIN_SAVED = 16  # prompt tokens that must be saved for a prompt to wait for the next step


@dataclass(frozen=True, slots=True)
class ScheduledChunk:
    """The next `length` tokens of a sequence, all of its prompt (`is_prefill`) or all of its completion.

    `generates`: its last token predicts the next token of the completion.
    """

    sequence: Sequence
    length: int
    is_prefill: bool
    generates: bool


class Rows(Protocol):
    """As services.models.engine.torch_engine.kv_cache.KVCache."""

    def copy_row(self, source: int, target: int, length: int) -> None: ...

    def extract(self, row: int, length: int) -> Any:
        """Of the first `length` tokens of `row`, which may lose what follows them."""
        ...

    def insert(self, row: int, keys_values: Any, length: int) -> None: ...

    def drop_row(self, row: int) -> None: ...


class Scheduler:
    """Running sequences have rows 0 to n - 1 of the KV cache; the prompts of a step have the rows after them.

    One prompt at most is partly prefilled. Only the engine's thread calls this.
    """

    def __init__(
        self,
        queue: RequestQueue,
        rows: Rows,
        prefixes: PrefixCache,
        conversations: PrefixCache,
        beginnings: Beginnings,
        *,
        max_batch: int,
        max_tokens: int,
        prefill_chunk: int,
    ) -> None:
        """At most `max_batch` sequences run, which at their ends have at most `max_tokens` tokens together."""
        self.running: list[Sequence] = []
        self.prefilling: Sequence | None = None
        self._queue, self._rows = queue, rows
        self._prefixes, self._conversations, self._beginnings = prefixes, conversations, beginnings
        self._max_batch, self._max_tokens, self._prefill_chunk = max_batch, max_tokens, prefill_chunk

    @property
    def num_running(self) -> int:
        return len(self.running) + (self.prefilling is not None)

    def drop_aborted(self) -> list[Sequence]:
        """Remove what was aborted, wherever it is. What was prefilled of a prefill-only request stays in the prefix
        cache.
        """
        prefilling = [self._end_prefilling()] if self.prefilling and self.prefilling.is_aborted else []
        running = [sequence for sequence in reversed(self.running) if sequence.is_aborted]
        for sequence in running:
            self.remove(sequence)
        return [*prefilling, *running, *self._queue.pop_aborted()]

    def schedule(self) -> list[ScheduledChunk]:
        """One token of each running sequence, then chunks of prompts, in the order of their rows."""
        decodes = [ScheduledChunk(sequence, 1, is_prefill=False, generates=True) for sequence in self.running]
        return decodes + self._schedule_prompts()

    def advance(self, chunks: list[ScheduledChunk]) -> list[Sequence]:
        """After a pass over `chunks`: the sequences that it generated a token for, which are those that run now."""
        for chunk in chunks:
            chunk.sequence.computed += chunk.length
        self.keep_rows(chunks)
        return list(self.running)

    def keep_rows(self, chunks: list[ScheduledChunk]) -> None:
        """The sequences of a pass run in its rows. Alone after one that was interrupted: `drop_aborted` finds them
        there.
        """
        self.running = [chunk.sequence for chunk in chunks if chunk.generates]

    def pop_prefilled(self) -> Sequence | None:
        """The prefill-only request whose prompt is complete, if there is one. Its prompt is in the prefix cache."""
        sequence = self.prefilling
        if sequence and sequence.is_prefill_only and not sequence.num_prompt_left:
            return self._end_prefilling()
        return None

    def remove(self, sequence: Sequence) -> None:
        """Take a running sequence out. The last row moves into the gap, and the prompt being prefilled follows it.

        What was computed for a conversation stays in the caches.
        """
        row, last = self.running.index(sequence), len(self.running) - 1
        if sequence.generation.cache.is_kept and sequence.computed:
            self._keep(sequence, row)
        if row != last:
            self._rows.copy_row(last, row, self.running[last].computed)
            self.running[row] = self.running[last]
        if self.prefilling and self.prefilling.computed:
            self._rows.copy_row(last + 1, last, self.prefilling.computed)
            last += 1
        self._rows.drop_row(last)
        self.running.pop()

    def clear(self) -> None:
        self.running, self.prefilling = [], None

    def _schedule_prompts(self) -> list[ScheduledChunk]:
        """Prompts to the end as far as the step has room, and at most one that the next step continues.

        Where a prompt is cut depends on the prompt alone, so that an answer does not depend on other sequences.
        """
        chunks: list[ScheduledChunk] = []
        room = self._prefill_chunk
        while sequence := self.prefilling or self._admit([chunk.sequence for chunk in chunks]):
            self.prefilling = sequence
            if not sequence.computed and not self._reuse_prefix(sequence, [chunk.sequence for chunk in chunks]):
                break
            length = min(sequence.num_prompt_left, self._prefill_chunk)
            if length > room:
                break
            if length:
                is_complete = length == sequence.num_prompt_left and not sequence.is_prefill_only
                chunks.append(ScheduledChunk(sequence, length, is_prefill=True, generates=is_complete))
                room -= length
            if sequence.is_prefill_only or length < sequence.num_prompt_left:
                break
            self.prefilling = None
        return chunks

    def _admit(self, prefilled_now: list[Sequence]) -> Sequence | None:
        """The next sequence, where a row is free and no sequence will lack room before its end."""
        live = [*self.running, *prefilled_now]
        room = self._max_tokens - sum(sequence.most_tokens for sequence in live)
        return self._queue.pop(room) if len(live) < self._max_batch else None

    def _reuse_prefix(self, sequence: Sequence, prefilled_now: list[Sequence]) -> bool:
        """Copy the longest common prefix from a running sequence or from a cache, of the same owner.

        The last token of a prompt is computed where a completion follows. False: the sequence should wait for the next
        step, because one of those `prefilled_now` will have more to copy.
        """
        prompt = sequence.prompt_ids
        reusable = prompt if sequence.is_prefill_only else prompt[:-1]
        lengths = [_shared(other, sequence.owner, reusable) for other in self.running]
        in_batch = max(lengths, default=0)
        in_cache, keys_values = self._longest_cached(sequence, reusable)
        length = max(in_batch, in_cache)
        if any(_shared(other, sequence.owner, reusable) >= length + _MIN_SAVED for other in prefilled_now):
            return False
        sequence.computed = sequence.cached = length
        row = len(self.running) + len(prefilled_now)
        if in_batch and in_batch >= in_cache:
            self._rows.copy_row(lengths.index(in_batch), row, in_batch)
        elif in_cache:
            self._rows.insert(row, keys_values, in_cache)
        return True

    def _longest_cached(self, sequence: Sequence, reusable: tuple[int, ...]) -> tuple[int, Any]:
        found = self._prefixes.longest(reusable, sequence.owner)
        if not sequence.generation.cache.is_kept:
            return found
        kept = [cache.longest(reusable, sequence.owner) for cache in (self._conversations, self._beginnings)]
        return max([found, *kept], key=lambda entry: entry[0])

    def _keep(self, sequence: Sequence, row: int) -> None:
        """What was computed of a conversation, and apart from it the tools that it begins with."""
        ids, shared = sequence.computed_ids, sequence.generation.cache.num_shared
        self._conversations.put(ids, self._rows.extract(row, len(ids)), sequence.owner)
        beginning = ids[:shared]
        if _MIN_KEPT <= shared <= len(ids) and not self._beginnings.has(beginning, sequence.owner):
            self._beginnings.put(beginning, self._rows.extract(row, shared), sequence.owner)

    def _end_prefilling(self) -> Sequence:
        sequence, self.prefilling = self.prefilling, None
        assert sequence is not None
        if sequence.is_prefill_only and sequence.computed:
            ids = sequence.prompt_ids[: sequence.computed]
            self._prefixes.put(ids, self._rows.extract(len(self.running), len(ids)), sequence.owner)
        self._rows.drop_row(len(self.running))
        return sequence


def _shared(other: Sequence, owner: str, ids: tuple[int, ...]) -> int:
    """How many of the `ids` of an owner's prompt the `other` sequence begins with: none of another owner's, which usage
    would tell.
    """
    return common_prefix(other.prompt_ids, ids) if other.owner == owner else 0
