"""Does a batch survive kills, and is its cost the ledger's?

The batch runs by `tandem batch` as a process of its own, and is looked at over HTTP as well. Each victim is killed once
while it runs, evenly over its requests, and started again two seconds later; `everything` is all processes at once.
Then its output, the bills that the gateway has for each request, and the tokens that the engines counted are compared.
"""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil

from tandem import Client, to_dict
from tandem.local.supervisor import Stack
from tandem.paths import find_binary
from tests import stacks
from tests.e2e.ledger import read_journal, reconcile

_SECONDS_DOWN = 2.0
_SCRIPTS = (
    "[ms=3 scores=16:0.9 slm_eos=12]",
    "[ms=3 scores=32:0.9 slm_eos=20]",
    "[ms=3 scores=0:0.9 slm_eos=30]",
    "[ms=3 llm_eos=20]",
)
Lines = list[dict[str, Any]]
Figures = dict[str, Any]


def scripted_questions(count: int, seed: int) -> Lines:
    dice = random.Random(seed)
    return [{"id": f"q{n}", "question": f"{dice.choice(_SCRIPTS)} {n}"} for n in range(count)]


def run_batch(
    stack: Stack, lines: Lines, folder: Path, concurrency: int, victims: Sequence[str] = (), journal: Path | None = None
) -> Figures:
    """Ask the lines as one batch, and say what came of it. `journal` is where the test engines count."""
    asked, out, batch_id = folder / "questions.jsonl", folder / "answers.jsonl", uuid4().hex
    asked.write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [
        str(find_binary("tandem")),
        "batch",
        str(asked),
        "--out",
        str(out),
        "--concurrency",
        str(concurrency),
    ]
    began = time.monotonic()
    with stacks.environment({"TANDEM_ADDRESS": stack.gateway}):
        running = subprocess.Popen([*command, "--batch-id", batch_id, "--json"], stdout=subprocess.PIPE, text=True)
    watcher = _Watcher(stack, batch_id, len(lines), victims)
    watching = threading.Thread(target=watcher.watch, daemon=True)
    watching.start()
    printed, _ = running.communicate()
    seconds = time.monotonic() - began
    watcher.is_over.set()
    watching.join()
    stacks.heal(stack)
    batch, answers = json.loads(printed), [json.loads(line) for line in out.read_text().splitlines()]
    return {
        "profile": stack.profile,
        "questions": len(lines),
        "concurrency": concurrency,
        "killed": watcher.killed,
        "seconds": round(seconds, 1),
        "state": batch["state"],
        "error": batch["error"],
        "counts": batch["counts"],
        "seen_over_http": watcher.num_seen,
        "not_seen_over_http": watcher.num_missed,
        **_compared(stack, lines, batch, answers, journal),
    }


def _compared(stack: Stack, lines: Lines, batch: dict[str, Any], answers: Lines, journal: Path | None) -> Figures:
    """Each question is answered once, and batch, output and the gateway's bills agree."""
    with Client(stack.gateway) as client:
        found = [client.get(line["request_id"]) for line in answers]
    bills = [to_dict(each.result) for each in found if each.HasField("result")]
    times = Counter(line["id"] for line in answers)
    figures: Figures = {
        "answered_once": sum(times[line["id"]] == 1 for line in lines),
        "different_answers": sum(b["answer"] != a["answer"] for a, b in zip(answers, bills, strict=True)),
        "batch_usd": batch["usd"],
        "output_usd": sum(line["cost"]["usd"] for line in answers),
        "bills_usd": sum(bill["cost"]["usd"] for bill in bills),
        "llm_alone_usd": sum(bill["cost"]["usd_llm_alone"] for bill in bills),
        "stops": dict(Counter(bill["stop"]["reason"] for bill in bills)),
        "retried": sum(bill["attempts"] > 1 for bill in bills),
    }
    if journal:
        seen = asdict(reconcile(bills, read_journal(journal), batch["concurrency"], {}))
        figures["tokens"] = {name: seen[name] for name in ("engines", "bills", "difference", "discarded_tokens")}
    return figures


class _Watcher:
    """Looks at the batch over HTTP, and kills each victim once its share of the requests has ended."""

    def __init__(self, stack: Stack, batch_id: str, total: int, victims: Sequence[str]) -> None:
        self._stack, self._batch_id, self._victims = stack, batch_id, list(victims)
        # In the first half: while one is healed others may already work on.
        self._marks = [total * (number + 1) // (2 * len(victims) + 1) for number in range(len(victims))]
        self.killed: dict[str, int] = {}
        self.num_seen = self.num_missed = 0
        self.is_over = threading.Event()

    def watch(self) -> None:
        with httpx.Client(base_url=self._stack.http, timeout=10) as http:
            while not self.is_over.wait(0.5):
                try:
                    seen = http.get(f"/v1/batches/{self._batch_id}").raise_for_status().json()
                except httpx.HTTPError:
                    self.num_missed += bool(self.num_seen)  # before, the batch has not begun
                    continue
                self.num_seen += 1
                self._kill_if_due(seen["request_counts"]["completed"])

    def _kill_if_due(self, ended: int) -> None:
        if not self._victims or ended < self._marks[0]:
            return
        victim = self._victims.pop(0)
        self._marks.pop(0)
        self.killed[victim] = ended
        names = [row.name for row in self._stack.status()] if victim == "everything" else [victim]
        for name in names:
            with suppress(psutil.NoSuchProcess):
                stacks.kill(self._stack, name)
        time.sleep(_SECONDS_DOWN)
        stacks.heal(self._stack)
