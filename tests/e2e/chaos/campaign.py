"""A campaign of faults on the real local stack with the test engines, whose every token is in a journal.

A round draws its traffic and faults from the campaign's seed and its own number, so a round that fails can be run alone. When
its requests have ended and the stack has healed, the oracle asks: did each end with an answer or a clear error, are the tokens
that were generated those that were billed, and is anything left?
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tandem import Client
from tandem.local.supervisor import Stack
from tests import stacks
from tests.e2e.chaos import faults, traffic
from tests.e2e.chaos.faults import Fault
from tests.e2e.chaos.remains import held, remains
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
    """`missing`: generated tokens that no bill has, and `read`: prompt tokens; below 0 where more was billed. `defects` in words."""

    number: int
    faults: tuple[Fault, ...]
    endings: dict[str, int]
    engines: dict[str, int]
    missing: int
    read: int
    noted: int
    seconds: float
    defects: tuple[str, ...] = field(default=())


def run(load: Load, numbers: Iterable[int]) -> Iterator[Round]:
    """The rounds of these numbers, on one stack."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        journal.touch()
        with stacks.scripted_stack({"TANDEM_TEST_JOURNAL": str(journal)}) as stack, Client(stack.gateway) as client:
            traffic.run(
                client, traffic.draw(random.Random(0), load.requests, "warm-up")
            )  # connections are kept from then on
            for number in numbers:
                yield _round(stack, client, journal, load, number)


def _round(stack: Stack, client: Client, journal: Path, load: Load, number: int) -> Round:
    began, dice = time.monotonic(), random.Random(f"{load.seed}/{number}")
    requests = traffic.draw(dice, load.requests, f"chaos-{load.seed}-{number}")
    drawn = faults.draw(dice, load.most_faults)
    before, counted = held(stack), read_journal(journal)
    with ThreadPoolExecutor(len(drawn)) as pool:
        strikes = [pool.submit(fault.strike, stack) for fault in drawn]
        outcomes = traffic.run(client, requests)
        for strike in strikes:
            strike.result()
    stacks.heal(stack)
    traffic.leave_nothing(client, requests)
    left = remains(stack, client, before)
    made = _made(journal, counted)
    bills = [outcome.bill for outcome in outcomes if outcome.bill]
    books = reconcile(bills, made, load.requests, {})
    missing = sum(more for name, more in books.difference.items() if name.endswith("output"))
    read = sum(more for name, more in books.difference.items() if not name.endswith("output"))
    return Round(
        number, tuple(drawn), dict(Counter(outcome.ending.value for outcome in outcomes)), dict(made), missing, read,
        books.requests_with_a_note_of_loss, round(time.monotonic() - began, 1),
        (*_of_requests(outcomes), *_of_tokens(drawn, outcomes, missing, read), *left),
    )  # fmt: skip


def _made(journal: Path, counted: Counter[str]) -> Counter[str]:
    """What the engines have counted since, once they count no more."""
    before, now = None, read_journal(journal)
    while before != now:
        time.sleep(_QUIET_SECONDS)
        before, now = now, read_journal(journal)
    return now - counted


def _of_requests(outcomes: Iterable[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        if outcome.ending is Ending.DEFECT:
            yield f"{outcome.request.request_id} ({outcome.request.behaviour}): {outcome.says}"


def _of_tokens(drawn: Iterable[Fault], outcomes: list[Outcome], missing: int, read: int) -> Iterator[str]:
    """Without a fault that loses tokens, and with a bill for each request, books agree to the token."""
    losses = sum(fault.loses_tokens for fault in drawn)
    unbilled = sum(outcome.bill is None for outcome in outcomes)
    if missing < 0 or read < 0:
        yield f"more was billed than made: {missing} generated, {read} read"
    if unbilled:
        return  # nothing says what those cost
    most = losses * len(outcomes) * _STEPS
    if missing > most:
        yield f"{missing} generated tokens are on no bill, at most {most} may be"
    if read and not losses:
        yield f"{read} read tokens are on no bill"
