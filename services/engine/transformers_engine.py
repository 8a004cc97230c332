"""The transformers back end: continuous batching over one model, in one thread.

`_step` is the engine: drop what was aborted, read what is to be scored, then one pass that reads pieces of prompts and
writes one token for every running sequence. Aborts are seen between steps, so a sequence never outlives the step under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import torch
import transformers
from torch import Tensor

from services.engine.api import (
    DuplicateRequest,
    EngineCounters,
    EngineLoad,
    EngineStopped,
    Finished,
    FinishReason,
    GenerationRequest,
    ModelInfo,
    PromptScores,
    PromptTooLong,
    QueueFull,
    Token,
)
from services.engine.kept import KeptPrefixes, common_prefix
from services.engine.model import Model, Writer
from services.engine.ragged import Piece, run
from services.engine.request import Request
from services.engine.scoring import PromptReader
from services.engine.slot_cache import SlotCache
from services.engine.tokenizer import ChatTokenizer
from tandem.method.tokens import TokenCounts

_WORTH_WAITING = 16  # tokens that need not be read if the prompt is read a pass later


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How one model is run. `path` is a folder in Hugging Face layout.

    `quantization` is "none", or "auto" and "int8" (int8 on a CPU that has it). `compiled`: where int8 is run and the folder has
    code compiled for this process, that writes; the model itself is then loaded with the first score.
    """

    path: Path
    name: str
    revision: str = ""
    dtype: str = "bfloat16"
    device: str = "auto"
    threads: int = 2
    max_batch: int = 16
    max_waiting: int = 64
    prefill_chunk: int = 256
    score_cache_bytes: int = 1 << 30
    ahead_cache_bytes: int = 1 << 28
    quantization: str = "none"
    compiled: bool = True


class TransformersEngine:
    """An Engine (services.engine.api) over a decoder-only transformers model with full attention."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self.counters = EngineCounters()
        self._wake = threading.Condition()
        self._arrived: deque[Request] = deque()
        self._to_read: deque[Request] = deque()  # ahead of their generations; they wait for everybody else
        self._jobs: deque[tuple[str, tuple[int, ...], Future[PromptScores]]] = deque()
        self._by_id: dict[str, Request] = {}
        self._running: list[Request] = []
        self._prefilling: Request | None = None
        self._stopping = False
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._started: Future[None] = Future()

    # -- the Engine protocol ------------------------------------------------------------------------------------

    @property
    def info(self) -> ModelInfo:
        settings = self._settings
        return ModelInfo(
            name=settings.name,
            revision=settings.revision,
            dtype=settings.dtype,
            device=str(self._model.device),
            parameters=self._num_parameters,
            context_length=self._model.context_length,
            engine="transformers, compiled" if self.is_compiled else "transformers",
            engine_version=transformers.__version__,
        )

    @property
    def tokenizer(self) -> ChatTokenizer:
        return self._tokenizer

    @property
    def load(self) -> EngineLoad:
        reading = self._prefilling is not None
        return EngineLoad(len(self._running) + reading, len(self._arrived) + len(self._jobs))

    @property
    def is_compiled(self) -> bool:
        return not isinstance(self._writer, Writer)

    @property
    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Returns when the model is loaded and warm. Raises OSError where `path` holds none."""
        name = f"engine-{self._settings.name}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self._started.result()

    def stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    async def generate(self, generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Token | Finished]()

        def deliver(item: Token | Finished) -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop has closed; nobody reads on
                loop.call_soon_threadsafe(queue.put_nowait, item)

        sequence = Request(generation, deliver, self._tokenizer)
        self._submit(sequence)
        try:
            while True:
                item = await queue.get()
                yield item
                if isinstance(item, Finished):
                    return
        finally:
            sequence.aborted = True  # and no other, which may have come under the same id meanwhile

    def abort(self, request_id: str) -> bool:
        with self._wake:
            sequence = self._by_id.get(request_id)
            if sequence is None:
                return False
            sequence.aborted = True
            self._wake.notify()
            return True

    async def score(self, key: str, prompt_ids: Sequence[int]) -> PromptScores:
        if len(prompt_ids) < 2:
            raise ValueError("a prompt to score has at least two tokens")
        if len(prompt_ids) > self._model.context_length:
            raise PromptTooLong(f"{len(prompt_ids)} tokens do not fit the context of {self._model.context_length}")
        future: Future[PromptScores] = Future()
        with self._wake:
            self._refuse_when_stopped()
            self._jobs.append((key, tuple(prompt_ids), future))
            self._wake.notify()
        return await asyncio.wrap_future(future)

    # -- admission (any thread) ---------------------------------------------------------------------------------

    def _submit(self, sequence: Request) -> None:
        generation = sequence.generation
        if not generation.prompt_ids or generation.max_new_tokens < 0:
            raise ValueError("a generation needs a prompt, and cannot make less than no token")
        total = len(generation.prompt_ids) + generation.max_new_tokens
        if total > self._model.context_length:
            raise PromptTooLong(
                f"prompt and answer of {total} tokens do not fit the context of {self._model.context_length}"
            )
        with self._wake:
            self._refuse_when_stopped()
            if generation.request_id in self._by_id:
                raise DuplicateRequest(f"request {generation.request_id!r} is running")
            queue = self._to_read if sequence.only_reads else self._arrived
            if len(queue) >= self._settings.max_waiting:
                raise QueueFull(f"{len(queue)} requests are waiting already")
            self._by_id[generation.request_id] = sequence
            queue.append(sequence)
            self._wake.notify()

    def _refuse_when_stopped(self) -> None:
        if self._failure is not None:
            raise EngineStopped(f"the engine died: {self._failure!r}") from self._failure
        if self._stopping:
            raise EngineStopped("the engine is shutting down")

    @cached_property
    def _reader(self) -> PromptReader:
        return PromptReader(*self._model.reader(), self._model.num_layers, self._settings.score_cache_bytes)

    # -- the engine's thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._load()
            with torch.inference_mode():
                self._warm_up()
                self._started.set_result(None)
                while self._wait_for_work():
                    self._step()
        except BaseException as failure:
            self._failure = failure
            if not self._started.done():
                self._started.set_exception(failure)
                return
            raise
        finally:
            self._end_everything()

    def _load(self) -> None:
        """In this thread: OpenMP has a pool for each that computes, and lets none spin where all have more than the cores."""
        settings = self._settings
        torch.set_num_threads(settings.threads)
        self._model = Model(settings.path, settings.dtype, settings.device, settings.quantization)
        self._num_parameters, self._eos_ids = self._model.num_parameters(), self._model.eos_ids()
        self._tokenizer = ChatTokenizer.load(settings.path)
        self._writer = self._model.writer(settings.compiled, settings.threads)
        self._cache = SlotCache()
        self._kept = KeptPrefixes(settings.ahead_cache_bytes)

    def _step(self) -> None:
        self._drop_aborted()
        self._score()
        prompts = self._choose_prompts()
        if computed := [*((sequence, 1) for sequence in self._running), *prompts]:
            logits = self._forward(computed)
            self._running += [sequence for sequence, _ in prompts if sequence.is_to_write]
            self._emit(list(self._running), logits)
        self._end_reading_ahead()

    def _wait_for_work(self) -> bool:
        with self._wake:
            self._wake.wait_for(
                lambda: (
                    self._stopping or self._arrived or self._to_read or self._jobs or self._running or self._prefilling
                )
            )
            return not self._stopping

    def _warm_up(self) -> None:
        """One pass over a token, so that the first request does not pay for allocating and loading."""
        self._compute([Piece(0, 0, 1)], [0], [0])

    def _drop_aborted(self) -> None:
        if self._prefilling and self._prefilling.aborted:
            self._keep(self._prefilling)
            self._finish(self._prefilling, FinishReason.ABORTED)
            self._prefilling = None
        for row in reversed(range(len(self._running))):
            if self._running[row].aborted:
                self._finish(self._leave(row), FinishReason.ABORTED)
        with self._wake:
            waiting_aborted = [s for s in (*self._arrived, *self._to_read) if s.aborted]
            for sequence in waiting_aborted:
                (self._to_read if sequence.only_reads else self._arrived).remove(sequence)
        for sequence in waiting_aborted:
            self._finish(sequence, FinishReason.ABORTED)

    def _choose_prompts(self) -> list[tuple[Request, int]]:
        """Whose prompts the next pass reads, and how many tokens of each: all but the last to their ends.

        A prompt is cut where it alone says, so that an answer does not depend on who else was read.
        """
        chosen: list[tuple[Request, int]] = []
        room = self._settings.prefill_chunk
        while sequence := self._prefilling or self._admit(len(self._running) + len(chosen)):
            self._prefilling = sequence
            if not sequence.computed and not self._share_prefix(sequence, [other for other, _ in chosen]):
                break
            length = min(sequence.num_unread, self._settings.prefill_chunk)
            if length > room:
                break
            if length:
                chosen.append((sequence, length))
                room -= length
            if sequence.only_reads or length < sequence.num_unread:
                break
            self._prefilling = None
        return chosen

    def _admit(self, row: int) -> Request | None:
        with self._wake:
            queue = self._arrived or self._to_read
            return queue.popleft() if queue and row < self._settings.max_batch else None

    def _share_prefix(self, sequence: Request, being_read: list[Request]) -> bool:
        """Copy keys and values of a running row, or of a kept prompt, that begins like this one.

        Where a token is to follow, the prompt's last one is always read. False where waiting saves more: for the next pass,
        when one of those `being_read` can be copied from.
        """
        prompt = sequence.generation.prompt_ids
        sharable = prompt if sequence.only_reads else prompt[:-1]
        lengths = [common_prefix(other.generation.prompt_ids, sharable) for other in self._running]
        in_batch = max(lengths, default=0)
        kept, keys_values = self._kept.longest(sharable)
        shared = max(in_batch, kept)
        if any(common_prefix(r.generation.prompt_ids, sharable) >= shared + _WORTH_WAITING for r in being_read):
            return False
        sequence.computed = sequence.shared = shared
        row = len(self._running) + len(being_read)
        if in_batch and in_batch >= kept:
            self._cache.move(lengths.index(in_batch), row, in_batch)
        elif kept:
            self._cache.put(row, keys_values, kept)
        return True

    def _keep(self, sequence: Request) -> None:
        if sequence.only_reads and sequence.computed:
            ids = sequence.generation.prompt_ids[: sequence.computed]
            self._kept.keep(ids, self._cache.take(len(self._running), len(ids)))

    def _end_reading_ahead(self) -> None:
        sequence = self._prefilling
        if sequence and sequence.only_reads and not sequence.num_unread:
            self._prefilling = None
            self._keep(sequence)
            self._finish(sequence, FinishReason.LENGTH)

    def _forward(self, computed: list[tuple[Request, int]]) -> Tensor:
        """One pass over the next tokens of each, in rows 0, 1, ...: the logits at the last token of those that are to
        write, float32[n, vocabulary]."""
        pieces = [Piece(row, sequence.computed, length) for row, (sequence, length) in enumerate(computed)]
        tokens = [token for sequence, length in computed for token in sequence.next(length)]
        self.counters.input_tokens += sum(length for sequence, length in computed if sequence.num_unread)
        for sequence, length in computed:
            sequence.computed += length
        ends = zip(computed, accumulate(length for _, length in computed), strict=True)
        return self._compute(pieces, tokens, [end - 1 for (sequence, _), end in ends if sequence.is_to_write])

    def _compute(self, pieces: list[Piece], tokens: list[int], ends: list[int]) -> Tensor:
        device = self._model.device
        wanted = torch.tensor(ends or [0], device=device)  # compiled code has no pass without logits
        return run(self._writer, self._cache, pieces, tokens, device, wanted)[: len(ends)].float()

    def _score(self) -> None:
        """One pass over the scoring jobs that are best read together."""
        if not self._jobs:
            return
        reader = self._reader
        with self._wake:
            together = reader.num_together([(key, ids) for key, ids, _ in self._jobs])
            jobs = [self._jobs.popleft() for _ in range(together)]
        jobs = [job for job in jobs if job[2].set_running_or_notify_cancel()]
        if not jobs:
            return
        try:
            scorings = reader.read([(key, ids) for key, ids, _ in jobs])
        except Exception as error:
            for _, _, future in jobs:
                future.set_exception(error)
            return
        for (_, _, future), scoring in zip(jobs, scorings, strict=True):
            self.counters.scored_tokens += scoring.usage.prompt
            future.set_result(scoring)

    def _emit(self, batch: list[Request], logits: Tensor) -> None:
        """Choose a token for each sequence of the batch (rows of `logits`, float32[n, vocabulary]) and hand it out."""
        greedy = logits.argmax(dim=-1).tolist()
        now = time.time()
        for row, sequence in enumerate(batch):
            is_greedy = sequence.generation.sampling.temperature == 0
            token = greedy[row] if is_greedy else sequence.draw(logits[row])
            sequence.generated.append(token)
            self.counters.output_tokens += 1
            is_eos = token in self._eos_ids
            text = "" if is_eos else sequence.detokenizer.push(token)
            read = sequence.prompt_computed if len(sequence.generated) == 1 else None
            sequence.deliver(Token(token, text, now, read))
            if is_eos:
                self._finish(self._leave(self._running.index(sequence)), FinishReason.EOS)
            elif len(sequence.generated) >= sequence.generation.max_new_tokens:
                self._finish(self._leave(self._running.index(sequence)), FinishReason.LENGTH)

    def _leave(self, row: int) -> Request:
        """Take the sequence out of the batch; the last row moves into the gap, and behind it the one being read."""
        sequence, last = self._running[row], len(self._running) - 1
        if row != last:
            self._cache.move(last, row, self._running[last].computed)
            self._running[row] = self._running[last]
        if self._prefilling and self._prefilling.computed:
            self._cache.move(last + 1, last, self._prefilling.computed)
        self._running.pop()
        return sequence

    def _finish(self, sequence: Request, reason: FinishReason) -> None:
        with self._wake:
            self._by_id.pop(sequence.generation.request_id, None)
        usage = TokenCounts(
            prompt=sequence.prompt_computed,
            cached=sequence.shared,
            completion=len(sequence.generated),
        )
        sequence.deliver(Finished(reason, usage, sequence.detokenizer.flush(), time.time()))

    def _end_everything(self) -> None:
        with self._wake:
            self._stopping = True
            reading = [self._prefilling] if self._prefilling else []
            left = [*self._running, *reading, *self._arrived, *self._to_read]
            jobs = list(self._jobs)
            self._running, self._prefilling = [], None
            self._arrived.clear()
            self._to_read.clear()
            self._jobs.clear()
        for sequence in left:
            self._finish(sequence, FinishReason.ABORTED)
        for _, _, future in jobs:
            future.set_exception(EngineStopped("the engine stopped"))
