"""Is the bill exact? Mixed requests, some cancelled, with and without processes killed under them; engines keep a journal.

`python -m bench.ledger --requests 200 --kills 20`. The test engine writes every token to a file as it makes it, so that a
killed process loses no count. Without kills, bills and journal agree to the token; with them, the difference is what the
lost attempts had made since their last write to the request log.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from rich.progress import track

from bench.common import local_stack, report
from tandem import AnswerDelta, Client, InsightDelta, RequestError, to_dict
from tandem.local.supervisor import Stack

_VICTIMS = ("insight-generator", "slm-executor", "sufficiency-scorer", "worker")
_SCRIPTS = (
    "[ms=3 scores=16:0.9 slm_eos=12]",
    "[ms=3 scores=32:0.9 slm_eos=30]",
    "[ms=3 slm_eos=20]",
    "[ms=3 llm_eos=40]",
    "[ms=3 scores=0:0.9 slm_eos=60]",
    "[ms=3 fail=score slm_eos=10]",
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=200)
    arguments.add_argument("--concurrent", type=int, default=8)
    arguments.add_argument("--kills", type=int, default=20, help="processes killed in the second run")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    report("ledger", {name: run(options, kills) for name, kills in (("calm", 0), ("kills", options.kills))})


def run(options: argparse.Namespace, kills: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        os.environ["TANDEM_TEST_JOURNAL"] = str(journal)
        with local_stack("scripted", scripted=True) as stack:
            killer = _Killer(stack, kills, options.seed)
            bills = _ask_all(stack, options, killer)
        del os.environ["TANDEM_TEST_JOURNAL"]
        return compare(bills, read_journal(journal), options, killer.killed)


class _Killer:
    """Kills a process and starts it anew, again and again, while requests run."""

    def __init__(self, stack: Stack, kills: int, seed: int) -> None:
        self._stack, self._left, self._random = stack, kills, random.Random(seed)
        self.killed: Counter[str] = Counter()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()
        for row in self._stack.status():
            if row.state not in ("ready", "starting"):
                self._start(row.name)

    def _run(self) -> None:
        while self._left and not self._is_over.wait(1.5):
            victim = self._random.choice(_VICTIMS)
            with self._stack.supervisor() as supervisor:
                info = supervisor.getProcessInfo(victim)
            if info["statename"] == "RUNNING":
                os.kill(info["pid"], signal.SIGKILL)
                psutil.wait_procs([psutil.Process(info["pid"])] if psutil.pid_exists(info["pid"]) else [], 5)
                time.sleep(0.2)
                self._start(victim)
                self.killed[victim] += 1
                self._left -= 1

    def _start(self, name: str) -> None:
        with self._stack.supervisor() as supervisor:
            supervisor.startProcess(name, False)


def _ask_all(stack: Stack, options: argparse.Namespace, killer: _Killer) -> list[dict[str, Any]]:
    dice = random.Random(options.seed)
    plans = [(f"{dice.choice(_SCRIPTS)} {n}", dice.random() < 0.15) for n in range(options.requests)]
    with Client(stack.gateway) as client:

        def ask(plan: tuple[str, bool]) -> dict[str, Any]:
            question, leaves = plan
            request_id = uuid4().hex
            try:
                for event in client.solve(question, request_id=request_id):
                    if leaves and isinstance(event, InsightDelta | AnswerDelta) and event.tokens >= 5:
                        break  # leaving cancels
            except RequestError:
                pass  # its bill is read all the same
            return _bill(client, request_id)

        with ThreadPoolExecutor(options.concurrent) as pool:
            bills = list(track(pool.map(ask, plans), total=len(plans), description="requests"))
        killer.stop()
        return bills


def _bill(client: Client, request_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            found = client.get(request_id)
            if found.HasField("result"):
                return to_dict(found.result)
        except RequestError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"request {request_id} has no bill")


def read_journal(journal: Path) -> Counter[str]:
    made: Counter[str] = Counter()
    for line in journal.read_text().splitlines():
        role, kind, count = line.split()
        made["scorer scored" if kind == "scored" else f"{role} {kind}"] += int(count)
    return made


def compare(
    bills: list[dict[str, Any]], journal: Counter[str], options: argparse.Namespace, killed: Counter[str]
) -> dict[str, Any]:
    """Tokens that the engines made against those that are billed."""
    billed: Counter[str] = Counter()
    for bill in bills:
        for role in ("llm", "slm"):
            usage = bill["usage"][role]
            billed[f"{role} input"] += usage["input_tokens"]
            billed[f"{role} output"] += sum(usage[f"{s}_tokens"] for s in ("output", "overrun", "discarded"))
        billed["scorer scored"] += bill["usage"]["scorer"]["input_tokens"]
    return {
        "requests": len(bills),
        "concurrent": options.concurrent,
        "killed": dict(killed),
        "reasons": dict(Counter(bill["stop"]["reason"] for bill in bills)),
        "discarded_tokens": sum(b["usage"][r]["discarded_tokens"] for b in bills for r in ("llm", "slm")),
        "requests_with_a_note_of_loss": sum(any("was started" in note for note in b["notes"]) for b in bills),
        "engines": dict(journal),
        "bills": dict(billed),
        "difference": {name: journal[name] - billed[name] for name in sorted(journal | billed)},
    }


if __name__ == "__main__":
    main()
