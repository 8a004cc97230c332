"""Scheduling without a model: which chunks a step has, which rows are copied, and the order of the queue."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, cast

import pytest

from services.models.engine.api import CacheUse, DuplicateRequest, EngineStopped, GenerationRequest, QueueFull
from services.models.engine.loop.prefix_cache import PrefixCache
from services.models.engine.loop.prefix_files import Beginnings
from services.models.engine.loop.request_queue import RequestQueue, ScoringJob
from services.models.engine.loop.scheduler import Scheduler
from services.models.engine.loop.sequence import Sequence


class RecordedRows:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.dropped: list[int] = []

    def copy_row(self, source: int, target: int, length: int) -> None:
        self.calls.append(("copy", source, target, length))

    def extract(self, row: int, length: int) -> Any:
        self.calls.append(("extract", row, length))
        return []

    def insert(self, row: int, keys_values: Any, length: int) -> None:
        self.calls.append(("insert", row, length))

    def drop_row(self, row: int) -> None:
        self.dropped.append(row)


class Bench:
    """A scheduler whose passes cost nothing."""

    def __init__(self, max_batch: int = 4, prefill_chunk: int = 16, max_tokens: int = 10_000) -> None:
        self.queue, self.rows = RequestQueue(max_waiting=8), RecordedRows()
        self.scheduler = Scheduler(
            self.queue,
            self.rows,
            PrefixCache(1 << 20),
            PrefixCache(1 << 20),
            Beginnings(1 << 20),
            max_batch=max_batch,
            max_tokens=max_tokens,
            prefill_chunk=prefill_chunk,
        )

    def submit(
        self, name: str, prompt: Iterable[int], max_new_tokens: int = 100, owner: str = "", *, is_kept: bool = False
    ) -> Sequence:
        generation = GenerationRequest(name, tuple(prompt), max_new_tokens, cache=CacheUse(owner, is_kept))
        sequence = Sequence(generation, lambda _: None, cast(Any, None))
        self.queue.submit(sequence)
        return sequence

    def step(self) -> list[tuple[str, int]]:
        """(request id, tokens) of each chunk."""
        chunks = self.scheduler.schedule()
        for sequence in self.scheduler.advance(chunks):
            sequence.completion.append(0)
        return [(chunk.sequence.request_id, chunk.length) for chunk in chunks]


def test_running_sequences_come_first_and_prompts_fill_the_rest_of_the_step() -> None:
    bench = Bench()
    bench.submit("a", range(10))
    assert bench.step() == [("a", 10)]
    bench.submit("b", range(100, 106))
    bench.submit("c", range(200, 240))
    assert bench.step() == [("a", 1), ("b", 6)]  # c is cut at 16 tokens, for which there is no room
    assert bench.step() == [("a", 1), ("b", 1), ("c", 16)]
    assert bench.step() == [("a", 1), ("b", 1), ("c", 16)]
    assert bench.step() == [("a", 1), ("b", 1), ("c", 8)]
    assert bench.step() == [("a", 1), ("b", 1), ("c", 1)]


def test_no_more_sequences_run_than_the_batch_has_rows() -> None:
    bench = Bench(max_batch=2)
    for index in range(3):
        bench.submit(f"{index}", range(100 * index, 100 * index + 4))
    assert bench.step() == [("0", 4), ("1", 4)]
    assert bench.step() == [("0", 1), ("1", 1)]
    bench.scheduler.remove(bench.scheduler.running[0])
    assert bench.step() == [("1", 1), ("2", 4)]


def test_a_sequence_waits_until_there_is_room_for_it_to_its_end_and_none_overtakes_it() -> None:
    bench = Bench(max_tokens=200)
    bench.submit("a", range(4), 100)
    bench.submit("b", range(100, 104), 93)
    bench.submit("c", range(200, 204), 1)
    assert bench.step() == [("a", 4)]
    assert bench.step() == [("a", 1)]
    bench.scheduler.remove(bench.scheduler.running[0])
    assert bench.step() == [("b", 4), ("c", 4)]


def test_the_last_row_moves_into_a_gap_and_the_prompt_being_prefilled_follows() -> None:
    bench = Bench()
    for index in range(3):
        bench.submit(f"{index}", range(100 * index, 100 * index + 4))
    bench.step()
    bench.submit("long", range(1000, 1040))
    bench.step()
    bench.rows.calls.clear()
    bench.scheduler.remove(bench.scheduler.running[0])
    assert bench.rows.calls == [("copy", 2, 0, 5), ("copy", 3, 2, 16)]
    assert bench.step() == [("2", 1), ("1", 1), ("long", 16)]


def test_prefill_only_requests_wait_for_all_others_and_end_in_the_prefix_cache() -> None:
    bench = Bench()
    ahead = bench.submit("ahead", range(12), max_new_tokens=0)
    bench.submit("a", range(100, 108))
    assert bench.step() == [("a", 8)]
    assert bench.scheduler.pop_prefilled() is None
    assert bench.step() == [("a", 1), ("ahead", 12)]
    assert bench.scheduler.pop_prefilled() is ahead
    bench.submit("b", range(12))
    assert bench.step() == [("a", 1), ("b", 1)]  # the last token of a prompt is computed again
    assert bench.rows.calls == [("extract", 1, 12), ("insert", 1, 11)]


def test_a_conversation_is_kept_for_its_owner_alone() -> None:
    bench = Bench()
    first = bench.submit("a", range(1, 11), owner="tenant", is_kept=True)
    for _ in range(3):
        bench.step()
    bench.scheduler.remove(first)
    assert bench.rows.calls == [("extract", 0, 12)]  # the last token of the completion was not computed
    for name, owner, is_kept, computed in (
        ("own", "tenant", True, 3),
        ("other", "else", True, 15),
        ("question", "tenant", False, 15),
    ):
        again = bench.submit(name, (*range(1, 11), 0, 0, *range(50, 53)), owner=owner, is_kept=is_kept)
        assert bench.step() == [(name, computed)], name
        assert again.cached == 15 - computed
        again.generation = GenerationRequest(name, again.prompt_ids, 100)  # it is not kept itself
        bench.scheduler.remove(again)


@pytest.mark.parametrize(("owner", "cached"), [("own", 11), ("another's", 0), ("", 0)])
def test_what_was_prefilled_ahead_is_found_by_its_owner_alone(owner: str, cached: int) -> None:
    bench = Bench()
    bench.submit("ahead", range(12), max_new_tokens=0, owner="own")
    bench.step()
    bench.scheduler.pop_prefilled()
    after = bench.submit("after", range(12), owner=owner)
    assert bench.step() == [("after", 12 - cached)]
    assert after.cached == cached


@pytest.mark.parametrize(("owner", "copies"), [("own", [("copy", 0, 1, 11)]), ("another's", []), ("", [])])
def test_the_row_of_a_running_prompt_is_copied_for_its_owner_alone(owner: str, copies: list[tuple[Any, ...]]) -> None:
    bench = Bench()
    bench.submit("runs", range(12), owner="own")
    bench.step()
    bench.submit("after", range(12), owner=owner)
    assert bench.step() == [("runs", 1), ("after", 1 if copies else 12)]
    assert bench.rows.calls == copies


def test_a_prompt_waits_for_an_equal_one_of_its_owner_alone() -> None:
    bench = Bench(prefill_chunk=100)
    for name, owner in (("a", "own"), ("b", "another's"), ("c", "own")):
        bench.submit(name, range(20), owner=owner)
    assert bench.step() == [("a", 20), ("b", 20)]
    assert bench.step() == [("a", 1), ("b", 1), ("c", 1)]


def test_aborts_are_dropped_wherever_the_sequence_is() -> None:
    bench = Bench()
    running, stays = bench.submit("running", range(4)), bench.submit("stays", range(100, 104))
    bench.step()
    prefilling = bench.submit("prefilling", range(200, 240))
    bench.step()
    waiting = bench.submit("waiting", range(300, 304))
    for name in ("running", "prefilling", "waiting"):
        assert bench.queue.abort(name)
    assert bench.scheduler.drop_aborted() == [prefilling, running, waiting]
    assert bench.scheduler.running == [stays]
    assert (bench.scheduler.prefilling, bench.queue.num_waiting) == (None, 0)
    assert not bench.queue.abort("nobody")


def test_the_queue_refuses_a_second_request_of_one_id_more_than_may_wait_and_everything_after_the_end() -> None:
    queue = Bench().queue
    sequences = [Sequence(GenerationRequest(f"{i}", (1, 2), 1), lambda _: None, cast(Any, None)) for i in range(10)]
    for sequence in sequences[:8]:
        queue.submit(sequence)
    with pytest.raises(DuplicateRequest):
        queue.submit(sequences[0])
    with pytest.raises(QueueFull, match="8 requests"):
        queue.submit(sequences[8])
    assert queue.pop(1000) is sequences[0]
    queue.submit(sequences[8])
    job = ScoringJob("key", (1, 2), Future())
    queue.submit_job(job)
    assert queue.close(RuntimeError("out of memory")) == (sequences[:9], [job])
    with pytest.raises(EngineStopped, match="out of memory"):
        queue.submit(sequences[9])
    assert queue.wait(is_busy=True) is False


def test_the_scheduler_needs_no_torch() -> None:
    check = (
        "import sys, services.models.engine.loop.scheduler; sys.exit('torch' in sys.modules or 'transformers' in "
        "sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
