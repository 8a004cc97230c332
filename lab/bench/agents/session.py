"""A session of 100 turns that grows to 150,000 tokens, directly and through Tandem, on both vendors' protocols:
`make bench-session`.

Each turn is a call and its result of six kilobytes, as agents have them; marks stand where Claude Code sets them. The
second time through Tandem, the process before the API is killed while the vendor answers. Compares what the vendor
counted with the bills, and samples the memory of each process.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import psutil

from lab.bench.agents.protocols import CHAT, MESSAGES, NAMES, Body
from lab.bench.agents.script import Asked, Step
from lab.bench.agents.stack import PAIR, http_address, vendor_stack
from lab.bench.agents.tee import USD
from lab.bench.agents.vendor import LARGE, Turn, Vendor, scripted_vendor
from lab.bench.common import Figures, commit_of, save
from tandem.local.supervisor import Stack
from tandem.paths import REPOSITORY
from tests.stacks import kill, pid_of, start

PATHS = {"anthropic": MESSAGES, "openai": CHAT}
_WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "omega")
_API = "model-apis"
_SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}


@dataclass(frozen=True)
class Shape:
    """`first` and `grows` in tokens; `seed` makes the texts."""

    turns: int
    first: int
    last: int
    seed: int

    def text(self, turn: int) -> str:
        """Of the turn: the system's prompt for turn 0, else a result."""
        tokens = self.first if turn == 0 else (self.last - self.first) // self.turns
        chosen = random.Random(f"{self.seed}/{turn}")
        words = [chosen.choice(_WORDS) for _ in range(4 * tokens)]
        return f"{turn}: {' '.join(words)}"[: 4 * tokens]


@dataclass
class Conversation:
    """The agent's side, in one protocol: the whole conversation goes with each turn."""

    path: str
    model: str
    shape: Shape
    turns: list[Body] = field(default_factory=list)

    def body(self) -> Body:
        if self.path == CHAT:
            tool = {"type": "function", "function": {"name": "bash", "description": "", "parameters": _SCHEMA}}
            head = {"role": "system", "content": self.shape.text(0)}
            return {"model": self.model, "messages": [head, *self.turns], "tools": [tool], "stream": True,
                    "stream_options": {"include_usage": True}}  # fmt: skip
        mark = {"cache_control": {"type": "ephemeral"}}
        *before, last = self.turns
        marked = {**last, "content": [*last["content"][:-1], {**last["content"][-1], **mark}]}
        return {
            "model": self.model, "max_tokens": 4096, "stream": True, "messages": [*before, marked],
            "system": [{"type": "text", "text": self.shape.text(0), **mark}],
            "tools": [{"name": "bash", "description": "", "input_schema": _SCHEMA}],
        }  # fmt: skip

    def ask(self) -> None:
        text = "Go on until you are done."
        self.turns.append({"role": "user", "content": text if self.path == CHAT else [{"type": "text", "text": text}]})

    def answer(self, call_id: str, text: str, command: str, turn: int) -> None:
        """What the model said and called, and the result."""
        result = self.shape.text(turn)
        arguments = {"command": command}
        if self.path == CHAT:
            function = {"name": "bash", "arguments": json.dumps(arguments)}
            calls = [{"id": call_id, "type": "function", "function": function}]
            self.turns.append({"role": "assistant", "content": text, "tool_calls": calls})
            self.turns.append({"role": "tool", "tool_call_id": call_id, "content": result})
            return
        blocks = [{"type": "text", "text": text}, {"type": "tool_use", "id": call_id, "name": "bash",
                                                   "input": arguments}]  # fmt: skip
        self.turns.append({"role": "assistant", "content": blocks})
        self.turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call_id,
                                                        "content": result}]})  # fmt: skip


@dataclass(frozen=True)
class Said:
    call_id: str
    text: str
    command: str
    usd: float | None


def script(asked: Asked) -> Step:
    """Calls for ever: the client ends the session."""
    if not asked.tools:
        return Step("1, 2, 3")
    return Step(f"Step {asked.results}.", "bash", {"command": f"step {asked.results}"})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--turns", type=int, default=100)
    arguments.add_argument("--tokens", type=int, default=150_000, help="of the last turn's prompt")
    arguments.add_argument("--kills", type=int, default=3)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--vendors", default=",".join(PATHS))
    options = arguments.parse_args()
    shape = Shape(options.turns, 20_000, options.tokens, options.seed)
    found = {kind: _vendor(kind, shape, options.kills) for kind in options.vendors.split(",")}
    figures = {"command": "make bench-session", "n": options.turns, "seed": options.seed, "models": LARGE}
    whole = save("agent-session", {**figures, "commit": commit_of(REPOSITORY), "sessions": found})
    print(json.dumps(whole["sessions"], indent=2))


def _vendor(kind: str, shape: Shape, kills: int) -> Figures:
    hold = Hold()

    def held(asked: Asked) -> Step:
        hold.pass_by(asked.results)
        return script(asked)

    with ExitStack() as started:
        vendor = started.enter_context(scripted_vendor(held))
        stack = started.enter_context(vendor_stack(vendor.url, kind))
        direct = _session(vendor, vendor.url, Conversation(PATHS[kind], LARGE[kind], shape))
        memory = Memory(stack)
        tandem = _session(vendor, http_address(stack), Conversation(PATHS[kind], PAIR, shape), memory.sample)
        at = [shape.turns * (number + 1) // (kills + 1) for number in range(kills)]

        def killed(turn: int) -> None:
            if turn in at:
                hold.begin(turn, lambda: _restart(stack))

        with_kills = _session(vendor, http_address(stack), Conversation(PATHS[kind], PAIR, shape), killed)
    return {
        "protocol": NAMES[PATHS[kind]],
        "direct": direct,
        "tandem": {**tandem, "ratio": round(tandem["usd"] / direct["usd"], 4)},
        "killed": {**with_kills, "kills": hold.kills, "ratio": round(with_kills["usd"] / direct["usd"], 4)},
        "memory_mb": memory.rows,
    }


def _restart(stack: Stack) -> None:
    kill(stack, _API)
    start(stack, _API)


@dataclass
class Hold:
    """Keeps the vendor's answer of one turn back until the process before it is dead."""

    kills: int = 0
    _turn: int = -1
    _act: Callable[[], None] | None = None

    def begin(self, turn: int, act: Callable[[], None]) -> None:
        self._turn, self._act = turn, act

    def pass_by(self, turn: int) -> None:
        """On the vendor's side."""
        act, self._act = (self._act, None) if turn == self._turn else (None, self._act)
        if act:
            self.kills += 1
            act()


class Memory:
    """Resident memory of each process, in MB, by the turns after which it was taken."""

    def __init__(self, stack: Stack) -> None:
        self._processes = {row.name: psutil.Process(pid_of(stack, row.name)) for row in stack.status()}
        self.rows: dict[str, dict[str, int]] = {name: {} for name in self._processes}

    def sample(self, turn: int) -> None:
        if turn % 20 == 0:
            for name, process in self._processes.items():
                self.rows[name][str(turn)] = process.memory_info().rss // 1_000_000


def _session(
    vendor: Vendor, url: str, conversation: Conversation, before: Callable[[int], None] = lambda _: None
) -> Figures:
    """`before` hears of each turn before it is asked."""
    vendor.forget()
    conversation.ask()
    bills: list[float | None] = []
    turns = conversation.shape.turns
    for turn in range(turns):
        before(turn)
        said = _asked(url, conversation.path, conversation.body())
        bills.append(said.usd)
        conversation.answer(said.call_id, said.text, said.command, turn + 1)
        print(f"\r{conversation.path} {turn + 1}/{turns} ", end="", file=sys.stderr, flush=True)
    before(turns)
    return _figures(vendor.turns, bills)


def _figures(turns: list[Turn], bills: list[float | None]) -> Figures:
    prompt, cached = (sum(getattr(turn.counted, name) for turn in turns) for name in ("prompt", "cached"))
    usd, billed = sum(turn.usd for turn in turns), [bill for bill in bills if bill is not None]
    return {
        "requests_at_vendor": len(turns),
        "last_prompt_tokens": turns[-1].counted.prompt,
        "cached_share": round(cached / prompt, 4),
        "usd": round(usd, 6),
        **({"usd_billed": round(sum(billed), 6), "bill_of_vendor": round(sum(billed) / usd, 6)} if billed else {}),
        "prefix_kept": all(turn.is_appended for turn in turns),
    }


def _asked(url: str, path: str, body: Body) -> Said:
    """Raises OSError, RuntimeError where there is no answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        reply = connection.getresponse()
        text = reply.read().decode()
    finally:
        connection.close()
    if reply.status != 200:
        raise RuntimeError(f"{reply.status}: {text[:500]}")
    events: list[Any] = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    bill = USD.findall(text)
    return _read(events, float(bill[-1]) if bill else None)


def _read(events: list[Any], usd: float | None) -> Said:
    """Of either protocol's events."""
    call_id, said, arguments = "", "", ""
    for event in events:
        delta = event.get("delta") or {}
        if block := event.get("content_block"):
            call_id = block.get("id") or call_id
        said += delta.get("text") or ""
        arguments += delta.get("partial_json") or ""
        for choice in event.get("choices") or ():
            said += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                call_id = call.get("id") or call_id
                arguments += call["function"].get("arguments") or ""
    if not arguments:
        raise RuntimeError(f"no call in the answer: {events[-3:]}")
    return Said(call_id, said, json.loads(arguments)["command"], usd)


if __name__ == "__main__":
    main()
