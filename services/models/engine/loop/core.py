"""The engine's thread: scheduler, runner and delivery, one step after the other."""

from __future__ import annotations

import time
from concurrent.futures import Future

from services.models.engine.api import EngineCounters, EngineStopped, Finished, FinishReason, Token
from services.models.engine.grammar import Grammars
from services.models.engine.loop.prefix_cache import PrefixCache
from services.models.engine.loop.prefix_files import Beginnings, PrefixFiles
from services.models.engine.loop.request_queue import RequestQueue
from services.models.engine.loop.runner import Interrupted, ModelRunner
from services.models.engine.loop.scheduler import ScheduledChunk, Scheduler
from services.models.engine.loop.sequence import Sequence
from services.models.engine.settings import EngineSettings
from tandem.method.tokens import TokenCounts


class EngineCore:
    """`_step` is the engine. Other threads reach it through `queue` and `end_unneeded_pass` alone.

    Aborts take effect between two steps, so a sequence never outlives the step under way. A step of aborted sequences
    alone is ended, where the runner can.
    """

    def __init__(self, settings: EngineSettings, runner: ModelRunner) -> None:
        self._settings = settings
        self.counters = EngineCounters()
        self.queue = RequestQueue(settings.max_waiting)
        self.runner = runner
        self._under_way: list[ScheduledChunk] = []
        self._beginnings = Beginnings(settings.beginnings_bytes)
        self.scheduler = Scheduler(
            self.queue,
            runner.cache,
            PrefixCache(settings.prefix_cache_bytes),
            PrefixCache(settings.conversation_cache_bytes),
            self._beginnings,
            max_batch=settings.max_batch,
            max_tokens=runner.max_tokens,
            prefill_chunk=settings.prefill_chunk,
        )

    def run(self, started: Future[None]) -> None:
        """The thread's program: load, set `started`, then step until the queue is stopped.

        `started` has the exception where loading fails: OSError where the settings' path holds no model.
        """
        failure: BaseException | None = None
        try:
            self._load()
            with self.runner.stepping():
                self.runner.warm_up()
                started.set_result(None)
                while self.queue.wait(is_busy=self.scheduler.num_running > 0):
                    self._step()
        except BaseException as error:
            failure = error
            if started.done():
                raise
            started.set_exception(error)
        finally:
            self._end(failure)
            self.runner.close()

    def _load(self) -> None:
        self.runner.load()
        self.tokenizer = self.runner.tokenizer()
        self.eos_ids, self.num_parameters = self.runner.model.eos_ids(), self.runner.model.num_parameters()
        self.grammars = Grammars(self.tokenizer, self.eos_ids)
        settings = self._settings
        if settings.generates and settings.saved_prefixes and (identity := self.runner.identity):
            folder = settings.saved_prefixes / settings.name
            self._beginnings.open(PrefixFiles(folder, identity, settings.saved_bytes))

    def _step(self) -> None:
        self._drop_aborted()
        self._score()
        chunks = self._under_way = self.scheduler.schedule()
        self.end_unneeded_pass()  # whoever aborted while the pass was chosen saw none
        tokens = self._run(chunks)
        self._under_way = []
        if tokens is None:
            self.scheduler.keep_rows(chunks)
        else:
            self._emit(chunks, tokens)

    def end_unneeded_pass(self) -> None:
        """After an abort, from any thread."""
        if _is_unneeded(self._under_way):
            self.runner.interrupt()

    def _run(self, chunks: list[ScheduledChunk]) -> list[int] | None:
        """None: nobody needs the pass any more. One that was interrupted for the pass before it is run again."""
        while True:
            try:
                return self.runner.run(chunks)
            except Interrupted:
                if _is_unneeded(chunks):
                    return None

    def _drop_aborted(self) -> None:
        for sequence in self.scheduler.drop_aborted():
            self._finish(sequence, FinishReason.ABORTED)

    def _score(self) -> None:
        """One pass over the scoring jobs that are best scored together."""
        jobs = self.queue.pop_jobs(self.runner.num_scored_together)
        if not jobs:
            return
        try:
            results = self.runner.score(jobs)
        except Exception as error:
            for job in jobs:
                job.scores.set_exception(error)
            return
        for job, scores in zip(jobs, results, strict=True):
            self.counters.scored_tokens += scores.usage.prompt
            job.scores.set_result(scores)

    def _emit(self, chunks: list[ScheduledChunk], tokens: list[int]) -> None:
        """Hand out the tokens of a pass, and end the sequences that are complete."""
        now = time.time()
        self.counters.input_tokens += sum(chunk.length for chunk in chunks if chunk.is_prefill)
        for sequence, token in zip(self.scheduler.advance(chunks), tokens, strict=True):
            if sequence.failure:
                self.scheduler.remove(sequence)
                self._finish(sequence, FinishReason.ABORTED)
                continue
            self._deliver(sequence, token, now)
            has_ended = token in self.eos_ids or sequence.stops.has_matched
            if has_ended or sequence.is_at_limit:
                self.scheduler.remove(sequence)
                self._finish(sequence, FinishReason.EOS if has_ended else FinishReason.LENGTH)
        if prefilled := self.scheduler.pop_prefilled():
            self._finish(prefilled, FinishReason.LENGTH)

    def _deliver(self, sequence: Sequence, token: int, now: float) -> None:
        sequence.completion.append(token)
        self.counters.output_tokens += 1
        text = "" if token in self.eos_ids else sequence.stops.push(sequence.detokenizer.push(token))
        is_first = len(sequence.completion) == 1
        computed = sequence.num_prompt_computed if is_first else None
        sequence.deliver(Token(token, text, now, computed))

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self.queue.release(sequence)
        usage = TokenCounts(
            prompt=sequence.num_prompt_computed, cached=sequence.cached, completion=len(sequence.completion)
        )
        rest = sequence.stops.last(sequence.detokenizer.flush(), is_aborted=reason is FinishReason.ABORTED)
        sequence.deliver(Finished(reason, usage, rest, time.time()))

    def _end(self, failure: BaseException | None) -> None:
        sequences, jobs = self.queue.close(failure)
        self.scheduler.clear()
        for sequence in sequences:
            if failure is not None:
                sequence.failure = EngineStopped(f"the engine died: {failure!r}")
            self._finish(sequence, FinishReason.ABORTED)
        for job in jobs:
            job.scores.set_exception(EngineStopped("the engine stopped"))


def _is_unneeded(chunks: list[ScheduledChunk]) -> bool:
    return bool(chunks) and all(chunk.sequence.is_aborted for chunk in chunks)
