"""Two small models that are asked together, and a large one, behind three scripted endpoints: `python -m
lab.bench.agreement`.

The endpoints replay what is published of real models (lab/pairs/facts): whether two models' answers are the same, and
how many tokens each wrote. Facts hold hashes of calls alone, so the calls are made up: of one function, the hash as one
argument, at a place that is drawn for each task. Three stacks are asked the same: by agreement, overlapped, and the
large model alone.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.progress import track

from lab.bench.common import Figures, quantiles, report
from lab.pairs.triples import Reply, read_replies
from tandem import Client
from tandem.method.evidence.same_answer import NO_CALL
from tandem.method.profile.endpoint import Capabilities
from tandem.method.roles import BILL_ROLES
from tandem.v1 import tandem_pb2
from tests.able_api import MODEL, openai_server
from tests.recorded_api import Answer, RecordedApi, recorded_api
from tests.stacks import environment, started_stack

_ROLES = ("slm", "second_slm", "llm")
_MODELS = {
    "calls": ("gpt-4o-mini", "toolace-2-8b", "gpt-4o-0806"),
    "gsm8k": ("gpt-4o-mini-2024-07-18", "gemini-1.5-flash", "gpt-4o-2024-08-06"),
}
_PRICES = {"slm": "0.15/0.60", "second_slm": "0.05/0.08", "llm": "2.50/10"}
_FIRST_SECONDS, _TOKEN_SECONDS = (
    {"slm": 0.2, "second_slm": 0.2, "llm": 0.4},
    {"slm": 0.01, "second_slm": 0.012, "llm": 0.02},
)
_MOST_TOKENS = 400
_TASK = re.compile(r"\[(calls|gsm8k):([^\]]+)\]")
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_KEYS = ("a", "b", "c", "d", "value")
_TOOL = {
    "type": "function",
    "function": {
        "name": "act",
        "parameters": {"type": "object", "properties": {key: {"type": "string"} for key in _KEYS}},
    },
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--calls", type=int, default=200)
    arguments.add_argument("--problems", type=int, default=100)
    arguments.add_argument("--concurrency", type=int, default=4)
    options = arguments.parse_args()
    tasks = [*_drawn("calls", options.calls), *_drawn("gsm8k", options.problems)]
    figures = {}
    for way, section in {
        "together": 'kinds = ["tools", "answer"]',
        "overlapped": 'kinds = ["tools", "answer"]\noverlapped = true',
        "large_alone": "kinds = []",
    }.items():
        vendor = _Vendor()
        with (
            recorded_api(vendor.answer) as api,
            _stack(api, section) as client,
            ThreadPoolExecutor(options.concurrency) as pool,
        ):
            ask = partial(_ask, client, vendor, is_alone=way == "large_alone")
            asked = list(track(pool.map(ask, tasks), total=len(tasks), description=way))
        figures[way] = {kind: _figures([each for each in asked if each.kind == kind]) for kind in _MODELS}
        figures[way]["bills"] = _bills(asked)
    report("agreement", {"models": _MODELS, "concurrency": options.concurrency, **figures})


def _drawn(kind: str, number: int) -> list[str]:
    facts = read_replies(kind)
    shared = set.intersection(*(set(facts[model]) for model in _MODELS[kind]))
    fit = [t for t in sorted(shared) if all(facts[m][t].tokens[1] <= _MOST_TOKENS for m in _MODELS[kind])]
    return [f"{kind}:{task}" for task in random.Random(52).sample(fit, number)]


@dataclass
class _Asked:
    kind: str
    task: str
    seconds: float
    result: tandem_pb2.SolveResult
    counted: Mapping[str, tuple[int, int]]  # tokens written, and those that it would have written, by role


@dataclass
class _Vendor:
    """What the endpoints sent, by task and role."""

    sent: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        role = path.split("/")[1]
        said = str(body["messages"][-1]["content"]) if body.get("messages") else ""
        if not (found := _TASK.search(said)) or not body.get("stream"):
            can = Capabilities(tools=True, json_schema=True, usage="continuous")
            return openai_server(can)(path, body)
        kind, task = found.groups()
        reply = read_replies(kind)[_MODELS[kind][_ROLES.index(role)]][task]
        return Answer(raw=lambda: self._stream(role, f"{kind}:{task}", _deltas(kind, task, reply)))

    def _stream(self, role: str, task: str, deltas: Sequence[dict[str, Any]]) -> Iterator[bytes]:
        with self.lock:
            sent = self.sent.setdefault((task, role), [0, len(deltas)])
        yield _HEAD
        time.sleep(_FIRST_SECONDS[role])
        for number, delta in enumerate(deltas, 1):
            time.sleep(_TOKEN_SECONDS[role])
            sent[0] += 1
            yield _chunk(delta, number)
        yield _chunk({}, len(deltas), "tool_calls" if "tool_calls" in deltas[-1] else "stop") + b"data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], tokens: int, reason: str | None = None) -> bytes:
    usage = {"prompt_tokens": 100, "completion_tokens": tokens, "total_tokens": 100 + tokens}
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({'model': MODEL, 'choices': [choice], 'usage': usage})}\n\n".encode()


def _deltas(kind: str, task: str, reply: Reply) -> list[dict[str, Any]]:
    """As many pieces as the model wrote tokens."""
    number = max(2, round(reply.tokens[1]))
    if kind == "gsm8k":
        box = rf" \boxed{{{reply.answer}}}"
        return [{"content": piece} for piece in _cut("so " * number + box, number)]
    if reply.answer in (NO_CALL, ""):
        return [{"content": piece} for piece in _cut("No tool fits. " * number, number)]
    keys = random.Random(task).sample(_KEYS, len(_KEYS))
    arguments = {key: reply.answer if key == "value" else "x" * 12 for key in keys}
    pieces = _cut(json.dumps(arguments), number)
    name = {"index": 0, "id": "c", "type": "function", "function": {"name": "act", "arguments": pieces[0]}}
    more = [{"index": 0, "function": {"arguments": piece}} for piece in pieces[1:]]
    return [{"tool_calls": [each]} for each in (name, *more)]


def _cut(text: str, number: int) -> list[str]:
    ends = [len(text) * at // number for at in range(number + 1)]
    return [text[start:end] for start, end in pairwise(ends)]


@contextmanager
def _stack(api: RecordedApi, section: str) -> Iterator[Client]:
    with tempfile.TemporaryDirectory(prefix="tandem-bench-") as folder:
        names = {"slm": "small", "second_slm": "second", "llm": "large"}
        given = [f"--{name}={api.url}/{role}/v1#{MODEL}" for role, name in names.items()]
        given += [f"--{name}-price={_PRICES[role]}" for role, name in names.items()]
        tandem = str(Path(sys.executable).with_name("tandem"))
        values = {"TANDEM_PROFILES_PATH": folder, "TANDEM_STATE": str(Path(folder) / "state")}
        with environment(values):
            subprocess.run([tandem, "profile", "new", "--name", "bench", *given], check=True, stdout=subprocess.DEVNULL)
        file = Path(folder) / "bench" / "profile.toml"
        file.write_text(f"{file.read_text()}\n[agreement]\n{section}\n")
        with started_stack("bench", {"TANDEM_PROFILES_PATH": folder}) as stack, Client(stack.gateway) as client:
            yield client


def _ask(client: Client, vendor: _Vendor, task: str, *, is_alone: bool) -> _Asked:
    kind, question = task.partition(":")[0], f"What is to be done? [{task}]"
    began = time.perf_counter()
    if kind == "calls":
        result = client.ask([{"role": "user", "content": question}], tools=[_TOOL])
    else:
        result = client.ask(question, task="chat" if is_alone else "answer")
    seconds = time.perf_counter() - began
    time.sleep(0.1)  # a vendor hears of a cut with its next write
    counted = {role: tuple(vendor.sent.get((task, role), (0, 0))) for role in _ROLES}
    return _Asked(kind, task, seconds, result, counted)  # type: ignore[arg-type]


def _figures(asked: Sequence[_Asked]) -> Figures:
    sent = [(role, *each.counted[role]) for each in asked for role in _ROLES]
    cut = [each for each in sent if each[1] < each[2]]
    small = [each.counted[role] for each in asked for role in _ROLES[:2]]
    return {
        "requests": len(asked),
        "answered_by": Counter(tandem_pb2.Role.Name(each.result.answered_by).removeprefix("ROLE_") for each in asked),
        "notes": Counter(note for each in asked for note in each.result.notes),
        "seconds": quantiles([each.seconds for each in asked]),
        "usd": sum(each.result.cost.usd for each in asked),
        "cut_streams": Counter(role for role, *_ in cut),
        "tokens_not_written": {
            role: sum(planned - written for at, written, planned in cut if at == role) for role in _ROLES
        },
        "tokens_of_small_models": {"written": sum(a for a, _ in small), "planned": sum(b for _, b in small)},
    }


def _bills(asked: Sequence[_Asked]) -> Figures:
    """Tokens of whole streams as billed and as sent; of those that were cut, by how many the two differ."""
    found: Figures = {}
    for role in _ROLES:
        pairs = [(_generated(each.result, role), *each.counted[role]) for each in asked]
        whole = [(billed, sent) for billed, sent, planned in pairs if sent == planned]
        cut = [sent - billed for billed, sent, planned in pairs if sent < planned]
        found[role] = {
            "billed": sum(billed for billed, _ in whole),
            "sent": sum(sent for _, sent in whole),
            "cut": len(cut),
            "sent_beyond_the_bill_of_cut_ones": sum(cut),
            "most": max(cut, default=0),
        }
    return found


def _generated(result: tandem_pb2.SolveResult, role: str) -> int:
    assert role in BILL_ROLES
    usage: tandem_pb2.TokenUsage = getattr(result.usage, role)
    return usage.output_tokens + usage.overrun_tokens + usage.discarded_tokens


if __name__ == "__main__":
    main()
