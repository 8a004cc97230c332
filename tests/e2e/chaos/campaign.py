"""A campaign of faults on the real local stack with the test engines, whose every token is in a journal.

A round draws its traffic and faults from the campaign's seed and its own number, so a round that fails can be run
alone. When its requests have ended and the stack has healed, the oracle asks: did each end with an answer or a clear
error, are the tokens that were generated those that were billed or told as lost, is anything left, and do all processes
run?
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from tests import stacks
from tests.e2e.chaos import faults, traffic
from tests.e2e.chaos.faults import Fault
from tests.e2e.chaos.remains import Held, held, remains, stopped
from tests.e2e.chaos.system import System, started_system
from tests.e2e.chaos.traffic import Ending, Outcome
from tests.e2e.ledger import read_journal, reconcile

_STEPS = 2  # tokens of a sequence that no log knows when its process dies: the last write's, and the step's under way
_QUIET_SECONDS = 0.5  # of the journal, before it is read


@dataclass(frozen=True, slots=True)
class Load:
    requests: int = 5
    most_faults: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """`missing`: generated tokens that no bill has, and `read`: prompt tokens; below 0 where more was billed.

    `errors`: those that callers were told; `defects`: what the oracle found; both in words.
    """

    number: int
    faults: tuple[Fault, ...]
    endings: dict[str, int]
    engines: dict[str, int]
    missing: int
    read: int
    noted: int
    seconds: float
    errors: tuple[str, ...]
    defects: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        struck = ", ".join(f"{fault.kind} {fault.victim}" for fault in self.faults)
        books = f"{self.missing} generated and {self.read} read on no bill, {self.noted} notes of loss"
        first = f"{self.number}: {struck}: {self.endings}, {books}, {self.seconds} s"
        errors = (f"   clear error: {error}" for error in self.errors)
        return "\n".join([first, *errors, *(f"   DEFECT: {defect}" for defect in self.defects)])


def run_on_stacks(
    load: Load, numbers: Iterable[int], stacks: int, goes_on: Callable[[], bool] = lambda: True
) -> Iterator[Round]:
    """The rounds of these numbers as they end, so many at once, each on a stack of its own; no more where `goes_on`
    says no.
    """
    left, rounds = SimpleQueue[int](), SimpleQueue[Round | None]()
    for number in numbers:
        left.put(number)

    def numbers_for_one() -> Iterator[int]:
        with suppress(Empty):
            while goes_on():
                yield left.get_nowait()

    def work() -> None:
        try:
            for each in run(load, numbers_for_one()):
                rounds.put(each)
        finally:
            rounds.put(None)

    with ThreadPoolExecutor(stacks) as pool:
        running = [pool.submit(work) for _ in range(stacks)]
        for _ in running:
            yield from iter(rounds.get, None)
        for each in running:
            each.result()


def run(load: Load, numbers: Iterable[int]) -> Iterator[Round]:
    """The rounds of these numbers, on one stack."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        journal.touch()
        with started_system({"TANDEM_TEST_JOURNAL": str(journal)}) as system:
            warm_up = traffic.draw(random.Random(0), load.requests, "warm-up")
            traffic.run(system, warm_up)  # connections are kept from then on
            usual = held(system.stack)
            for number in numbers:
                yield _round(system, journal, usual, load, number)


def _round(system: System, journal: Path, usual: Mapping[str, Held], load: Load, number: int) -> Round:
    began, dice = time.monotonic(), random.Random(f"{load.seed}/{number}")
    requests = traffic.draw(dice, load.requests, f"chaos-{load.seed}-{number}")
    drawn = faults.draw(dice, load.most_faults)
    counted = read_journal(journal)
    with ThreadPoolExecutor(load.most_faults) as pool:
        strikes = [pool.submit(fault.strike, system) for fault in drawn]
        outcomes = traffic.run(system, requests)
        for strike in strikes:
            strike.result()
    ended = stopped(system.stack)
    stacks.heal(system.stack)
    left = remains(system.stack, system.observer, usual, load.requests)
    traffic.leave_nothing(system.observer, requests)
    made = _made(journal, counted)
    bills = [outcome.bill for outcome in outcomes if outcome.bill]
    books = reconcile(bills, made, load.requests, {})
    missing = sum(more for name, more in books.difference.items() if name.endswith("output"))
    read = sum(more for name, more in books.difference.items() if not name.endswith("output"))
    noted = books.requests_with_a_note_of_loss
    return Round(
        number, tuple(drawn), dict(Counter(outcome.ending.value for outcome in outcomes)), dict(made), missing, read,
        noted, round(time.monotonic() - began, 1),
        tuple(outcome.says for outcome in outcomes if outcome.ending is Ending.CLEAR_ERROR),
        (*_of_requests(drawn, outcomes), *_of_tokens(drawn, outcomes, missing, read, noted), *ended, *left),
    )  # fmt: skip


def _made(journal: Path, counted: Counter[str]) -> Counter[str]:
    """What the engines have counted since, once they count no more."""
    before, now = None, read_journal(journal)
    while before != now:
        time.sleep(_QUIET_SECONDS)
        before, now = now, read_journal(journal)
    return now - counted


def _of_requests(drawn: Collection[Fault], outcomes: Iterable[Outcome]) -> Iterator[str]:
    may_be_lost = any(fault.loses_requests for fault in drawn)
    are_away = any(fault.parts_callers for fault in drawn)
    for outcome in outcomes:
        if outcome.ending is Ending.CANCELLED and not (are_away or outcome.may_be_cancelled):
            yield f"{outcome.request.request_id} ({outcome.request.behaviour}): cancelled, though its caller was there"
        if outcome.ending is Ending.DEFECT or (outcome.bill is None and not may_be_lost):
            yield f"{outcome.request.request_id} ({outcome.request.behaviour}): {outcome.says}"


def _hit_log_and_writer(drawn: Collection[Fault]) -> bool:
    """A token stands in the log, and in the memory of who made it: faults of both may lose more, and the bills say
    so.
    """
    return len(drawn) > 1 and any(fault.victim.endswith("redis") for fault in drawn)


def _is_lower_bound(outcome: Outcome) -> bool:
    return outcome.bill is not None and any("lower bound" in note for note in outcome.bill["notes"])


def _of_tokens(drawn: Collection[Fault], outcomes: list[Outcome], missing: int, read: int, noted: int) -> Iterator[str]:
    """Without a fault that loses tokens, and with a bill for each request, books agree to the token."""
    losses = sum(fault.loses_tokens for fault in drawn)
    unbilled = sum(outcome.bill is None for outcome in outcomes)
    if missing < 0 or read < 0:
        yield f"more was billed than made: {missing} generated, {read} read"
    if unbilled or any(fault.loses_requests for fault in drawn):
        return  # nothing says what those cost
    most = losses * len(outcomes) * _STEPS
    is_lower_bound = any(_is_lower_bound(outcome) for outcome in outcomes)
    if missing > most and not _hit_log_and_writer(drawn) and not is_lower_bound:
        yield f"{missing} generated tokens are on no bill, at most {most} may be"
    if missing > 0 and not noted:
        yield f"no bill says that {missing} generated tokens are lost"
    if read and not losses and not is_lower_bound:
        yield f"{read} read tokens are on no bill"
