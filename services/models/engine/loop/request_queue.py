"""Where other threads meet the engine's thread: requests and scoring jobs that wait, aborts, and the end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from services.models.engine.api import DuplicateRequest, EngineStopped, PromptScores, QueueFull
from services.models.engine.loop.sequence import Sequence


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """A prompt to score; `key` names the text that grows from one job to the next."""

    key: str
    ids: tuple[int, ...]
    scores: Future[PromptScores]


class RequestQueue:
    """First in, first out, prefill-only requests after all others. Every method may be called from any thread."""

    def __init__(self, max_waiting: int) -> None:
        """At most `max_waiting` requests that generate wait, and as many that only prefill."""
        self.changed = threading.Condition()
        self._max_waiting = max_waiting
        self._waiting: deque[Sequence] = deque()
        self._waiting_prefill_only: deque[Sequence] = deque()
        self._jobs: deque[ScoringJob] = deque()
        self._by_id: dict[str, Sequence] = {}  # waiting or running
        self._is_stopping = False
        self._failure: BaseException | None = None

    @property
    def num_waiting(self) -> int:
        """Requests that generate, and scoring jobs."""
        return len(self._waiting) + len(self._jobs)

    def submit(self, sequence: Sequence) -> None:
        """Raises EngineStopped, DuplicateRequest, QueueFull."""
        with self.changed:
            self._check_open()
            if sequence.request_id in self._by_id:
                raise DuplicateRequest(f"request {sequence.request_id!r} is running")
            queue = self._queue_of(sequence)
            if len(queue) >= self._max_waiting:
                raise QueueFull(f"{len(queue)} requests are waiting already")
            self._by_id[sequence.request_id] = sequence
            queue.append(sequence)
            self.changed.notify()

    def submit_job(self, job: ScoringJob) -> None:
        """Raises EngineStopped."""
        with self.changed:
            self._check_open()
            self._jobs.append(job)
            self.changed.notify()

    def abort(self, request_id: str) -> bool:
        """Mark a request, which the engine's next step drops. False: there is none of this id."""
        with self.changed:
            sequence = self._by_id.get(request_id)
            if sequence is None:
                return False
            sequence.is_aborted = True
            self.changed.notify()
            return True

    def release(self, sequence: Sequence) -> None:
        """The sequence has ended: its id may be used again."""
        with self.changed:
            self._by_id.pop(sequence.request_id, None)

    def pop(self, room: int) -> Sequence | None:
        """The next request, unless it may come to more than `room` tokens: none that came later overtakes it."""
        with self.changed:
            queue = self._waiting or self._waiting_prefill_only
            return queue.popleft() if queue and queue[0].most_tokens <= room else None

    def pop_aborted(self) -> list[Sequence]:
        with self.changed:
            aborted = [s for s in (*self._waiting, *self._waiting_prefill_only) if s.is_aborted]
            for sequence in aborted:
                self._queue_of(sequence).remove(sequence)
            return aborted

    def pop_jobs(self, count: Callable[[list[ScoringJob]], int]) -> list[ScoringJob]:
        """The first scoring jobs, as many as `count` says of all that wait. Jobs that were cancelled are left out."""
        if not self._jobs:
            return []
        with self.changed:
            jobs = [self._jobs.popleft() for _ in range(count(list(self._jobs)))]
        return [job for job in jobs if job.scores.set_running_or_notify_cancel()]

    def wait(self, is_busy: bool) -> bool:
        """Block until there is work, which there is at once where the engine `is_busy`. False: the engine is to
        stop.
        """
        with self.changed:
            self.changed.wait_for(
                lambda: is_busy or self._is_stopping or self._waiting or self._waiting_prefill_only or self._jobs
            )
            return not self._is_stopping

    def stop(self) -> None:
        with self.changed:
            self._is_stopping = True
            self.changed.notify()

    def close(self, failure: BaseException | None) -> tuple[list[Sequence], list[ScoringJob]]:
        """Refuse everything from now on. Returns the sequences that have not ended and the jobs that wait."""
        with self.changed:
            self._is_stopping, self._failure = True, failure
            sequences, jobs = list(self._by_id.values()), list(self._jobs)
            self._waiting.clear()
            self._waiting_prefill_only.clear()
            self._jobs.clear()
            return sequences, jobs

    def _queue_of(self, sequence: Sequence) -> deque[Sequence]:
        return self._waiting_prefill_only if sequence.is_prefill_only else self._waiting

    def _check_open(self) -> None:
        if self._failure is not None:
            raise EngineStopped(f"the engine died: {self._failure!r}") from self._failure
        if self._is_stopping:
            raise EngineStopped("the engine is shutting down")
