"""Are the bills exact? Mixed requests, some cancelled, with and without processes killed under them.

The test engine writes every token to a journal as it counts it, so that a killed process loses no count. Without kills,
bills and journal agree to the token. With kills, the difference is what the discarded attempts had generated since
their last write to the request log.
"""

from __future__ import annotations

import random
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

from tandem import AnswerDelta, Client, Event, InsightDelta, RequestError, to_dict
from tandem.local.supervisor import Stack
from tests import stacks

_VICTIMS = ("insight-generator", "slm-executor", "sufficiency-scorer", "worker")
_SCRIPTS = (
    "[ms=3 scores=16:0.9 slm_eos=12]",
    "[ms=3 scores=32:0.9 slm_eos=30]",
    "[ms=3 slm_eos=20]",
    "[ms=3 llm_eos=40]",
    "[ms=3 scores=0:0.9 slm_eos=60]",
    "[ms=3 fail=score slm_eos=10]",
)
_SHARE_CANCELLED = 0.15
_BILL_SECONDS = 120.0
_LOSS = re.compile("was started|lower bound")
Bill = dict[str, Any]
"""A SolveResult as `tandem.to_dict` gives it."""


@dataclass(frozen=True, slots=True)
class Load:
    """`seed` decides the scripts, the cancelled requests and the processes that are killed."""

    requests: int
    concurrent: int = 8
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Tokens that the engines counted (`engines`), those that were billed (`bills`), and the first less the second."""

    requests: int
    concurrent: int
    killed: dict[str, int]
    reasons: dict[str, int]
    discarded_tokens: int
    requests_with_a_note_of_loss: int
    engines: dict[str, int]
    bills: dict[str, int]
    difference: dict[str, int]


def run(load: Load, kills: int) -> Reconciliation:
    """Send the requests in as many waves as there are kills, and kill one process in the middle of each wave."""
    dice = random.Random(load.seed)
    plans = [_Plan(f"{dice.choice(_SCRIPTS)} {n}", dice.random() < _SHARE_CANCELLED) for n in range(load.requests)]
    bills: list[Bill] = []
    killed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        with (
            stacks.scripted_stack({"TANDEM_TEST_JOURNAL": str(journal)}) as stack,
            Client(stack.gateway) as client,
            ThreadPoolExecutor(load.concurrent) as pool,
        ):
            for wave in _waves(plans, max(kills, 1)):
                with _killer(stack, dice, len(wave)) if kills else nullcontext() as killer:
                    bills += pool.map(partial(_ask, client, killer), wave)
                if killer is not None:
                    killed += killer.killed
        return reconcile(bills, read_journal(journal), load.concurrent, killed)


def read_journal(journal: Path) -> Counter[str]:
    """Tokens that the engines counted, by role and kind."""
    counted: Counter[str] = Counter()
    for line in journal.read_text().splitlines():
        role, kind, count = line.split()
        counted["scorer scored" if kind == "scored" else f"{role} {kind}"] += int(count)
    return counted


def reconcile(
    bills: Sequence[Bill], journal: Counter[str], concurrent: int, killed: Mapping[str, int]
) -> Reconciliation:
    """Compare the tokens that the engines counted with those that are billed."""
    billed: Counter[str] = Counter()
    for bill in bills:
        for role in ("llm", "slm"):
            usage = bill["usage"][role]
            billed[f"{role} input"] += usage["input_tokens"]
            billed[f"{role} output"] += sum(usage[f"{s}_tokens"] for s in ("output", "overrun", "discarded"))
        billed["scorer scored"] += bill["usage"]["scorer"]["input_tokens"]
    return Reconciliation(
        requests=len(bills),
        concurrent=concurrent,
        killed=dict(killed),
        reasons=dict(Counter(bill["stop"]["reason"] for bill in bills)),
        discarded_tokens=sum(b["usage"][r]["discarded_tokens"] for b in bills for r in ("llm", "slm")),
        requests_with_a_note_of_loss=sum(any(map(_LOSS.search, b["notes"])) for b in bills),
        engines=dict(journal),
        bills=dict(billed),
        difference={name: journal[name] - billed[name] for name in sorted(journal | billed)},
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    question: str
    is_cancelled: bool


def _waves(plans: Sequence[_Plan], count: int) -> Iterator[Sequence[_Plan]]:
    cuts = [len(plans) * number // count for number in range(count + 1)]
    for begin, end in pairwise(cuts):
        yield plans[begin:end]


class _Killer:
    """Kills `victim` once, when its role's `after`-th delta has been seen by a client, and starts it again."""

    def __init__(self, stack: Stack, victim: str, after: int) -> None:
        self._stack, self._victim, self._left = stack, victim, after
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1)  # so that no request waits for the kill
        self._kill: Future[None] | None = None
        self.killed: Counter[str] = Counter()

    def saw(self, event: Event) -> None:
        if isinstance(event, AnswerDelta if self._victim == "slm-executor" else InsightDelta):
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self._kill = self._pool.submit(self._kill_and_start)

    def close(self) -> None:
        """Wait for the kill, if there was one, and until the process is ready again."""
        self._pool.shutdown()
        if self._kill is not None:
            self._kill.result()
        stacks.heal(self._stack)

    def _kill_and_start(self) -> None:
        stacks.restart(self._stack, self._victim)
        self.killed[self._victim] += 1


@contextmanager
def _killer(stack: Stack, dice: random.Random, requests: int) -> Iterator[_Killer]:
    # Nearly every request has a delta of either kind, so half as many are certain to come.
    killer = _Killer(stack, dice.choice(_VICTIMS), dice.randint(1, max(requests // 2, 1)))
    try:
        yield killer
    finally:
        killer.close()


def _ask(client: Client, killer: _Killer | None, plan: _Plan) -> Bill:
    request_id = uuid4().hex
    with suppress(RequestError):  # a request that fails has a bill all the same
        for event in client.solve(plan.question, request_id=request_id):
            if killer is not None:
                killer.saw(event)
            if plan.is_cancelled and isinstance(event, InsightDelta | AnswerDelta) and event.tokens >= 5:
                break  # leaving the stream cancels the request
    return _wait_for_bill(client, request_id)


def _wait_for_bill(client: Client, request_id: str) -> Bill:
    deadline = time.monotonic() + _BILL_SECONDS
    while time.monotonic() < deadline:
        with suppress(RequestError):
            found = client.get(request_id)
            if found.HasField("result"):
                return to_dict(found.result)
        time.sleep(0.2)
    raise TimeoutError(f"request {request_id} has no bill after {_BILL_SECONDS:.0f} s")
