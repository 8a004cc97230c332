"""The scripted vendor: answers in three protocols, counts as the vendors bill, and notes what breaks a cache."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from lab.bench.agents import protocols
from lab.bench.agents.prefix_cache import Counted, Part, PrefixCache
from lab.bench.agents.protocols import CHAT, MESSAGES, NAMES, RESPONSES, Body
from lab.bench.agents.script import Asked, Step, next_step
from tandem.endpoints.price_list import ListPrice, price_list
from tests.recorded_api import Answer, recorded_api

LARGE = {"anthropic": "claude-opus-4-8", "openai": "gpt-4.1"}
SMALL = {"anthropic": "claude-haiku-5-5", "openai": "gpt-4.1-nano"}
_MOST_MARKS = 4
_HOUR = 2.0  # times the price of input is what a cache of an hour costs to write


@dataclass(frozen=True)
class Turn:
    """One request as the vendor saw it. `fields`: its parameters; `faults`: what a vendor would not take."""

    protocol: str
    model: str
    fields: frozenset[str]
    counted: Counted
    written: int
    marks: int
    is_appended: bool
    faults: tuple[str, ...] = ()
    has_tools: bool = False

    @property
    def usd(self) -> float:
        """By the price list. Raises KeyError where it has none."""
        price, counted = _price(self.model), self.counted
        kept = counted.cached + counted.written + counted.written_1h
        cached = price.input if price.cached_input is None else price.cached_input
        write = price.input if price.cache_write is None else price.cache_write
        usd = (counted.prompt - kept) * price.input + counted.cached * cached + counted.written * write
        return (usd + counted.written_1h * _HOUR * price.input + self.written * price.output) / 1e6


@dataclass
class Vendor:
    """`url` is that of OpenAI's protocol without its /v1, and Anthropic's."""

    url: str = ""
    turns: list[Turn] = field(default_factory=list)
    next_step: Callable[[Asked], Step] = next_step
    _caches: dict[str, PrefixCache] = field(default_factory=dict)
    _last: list[Part] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """As on the next day: another session begins."""
        with self._lock:
            self.turns, self._caches, self._last = [], {}, []

    def answer(self, path: str, body: Body) -> Answer:
        path = path.partition("?")[0]
        if path.startswith("/v1/models"):
            return _models(path)
        if path == f"{MESSAGES}/count_tokens":
            return Answer({"input_tokens": _tokens(protocols.parts(MESSAGES, body))})
        if path not in NAMES:
            return Answer({"error": {"message": "not found"}}, status=404)
        if faults := _fatal(path, body):
            return protocols.refused(path, faults)
        with self._lock:  # before the step, which may take long: another request may come meanwhile
            turn = self._turn(path, body)
        step = self.next_step(protocols.asked(path, body))
        with self._lock:
            self.turns.append(replace(turn, written=protocols.written(step)))
            number = len(self.turns)
        return protocols.answer(path, body, step, turn.counted, number)

    def _turn(self, path: str, body: Body) -> Turn:
        """As it comes: nothing is written yet."""
        parts, model = protocols.parts(path, body), body["model"]
        cache = self._caches.setdefault(model, PrefixCache())
        counted = cache.anthropic(parts) if path == MESSAGES else cache.openai(parts)
        has_tools, marks = bool(body.get("tools")), sum(bool(part.mark) for part in parts)
        is_appended = [part.text for part in self._last] == [part.text for part in parts[: len(self._last)]]
        if has_tools:
            self._last = parts
        faults = tuple(_faults(path, body))
        return Turn(NAMES[path], model, frozenset(body), counted, 0, marks, is_appended, faults, has_tools)


@contextmanager
def scripted_vendor(script: Callable[[Asked], Step] = next_step) -> Iterator[Vendor]:
    vendor = Vendor(next_step=script)
    with recorded_api(vendor.answer) as api:
        vendor.url = api.url
        api.asked = _Nothing()  # bodies of sessions would fill the memory
        yield vendor


class _Nothing(list[Any]):
    def append(self, _: Any) -> None:
        pass


def _tokens(parts: Sequence[Part]) -> int:
    return PrefixCache().openai(parts).prompt


def _price(model: str) -> ListPrice:
    vendor = next(vendor for vendor in LARGE if model in (LARGE[vendor], SMALL[vendor]))
    found = price_list().find(model, vendor)
    if found is None:
        raise KeyError(model)
    return found


def _models(path: str) -> Answer:
    names = [*LARGE.values(), *SMALL.values()]
    listed = [{"id": name, "object": "model", "type": "model", "created": 1, "owned_by": "lab"} for name in names]
    name = path.removeprefix("/v1/models").strip("/")
    if not name:
        return Answer({"object": "list", "data": listed, "has_more": False})
    found = next((model for model in listed if model["id"] == name), None)
    return Answer(found) if found else Answer({"error": {"message": f"no model {name}"}}, status=404)


def _fatal(path: str, body: Body) -> str:
    """What each vendor refuses at once."""
    marks = sum(bool(part.mark) for part in protocols.parts(path, body))
    if marks > _MOST_MARKS:
        return f"A maximum of {_MOST_MARKS} blocks with cache_control may be provided. Found {marks}."
    calls, results = _calls(path, body)
    if unknown := results - calls:
        return f"results of calls that nobody made: {sorted(unknown)}"
    return f"calls without results: {sorted(calls - results)}" if calls - results else ""


def _calls(path: str, body: Body) -> tuple[set[str], set[str]]:
    if path == CHAT:
        made = {call["id"] for turn in body["messages"] for call in turn.get("tool_calls") or ()}
        return made, {turn["tool_call_id"] for turn in body["messages"] if turn["role"] == "tool"}
    if path == RESPONSES:
        items = [item for item in body["input"] if isinstance(item, dict)]
        made = {item["call_id"] for item in items if item.get("type") == "function_call"}
        return made, {item["call_id"] for item in items if item.get("type") == "function_call_output"}
    blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
    made = {block["id"] for block in blocks if block.get("type") == "tool_use"}
    return made, {block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"}


def _faults(path: str, body: Body) -> Iterator[str]:
    """What a vendor would take, and a model would miss: thoughts of the turns before."""
    if path != MESSAGES or (body.get("thinking") or {}).get("type") not in ("adaptive", "enabled"):
        return
    for message in body["messages"]:
        blocks = message["content"] if isinstance(message["content"], list) else []
        kinds = [block.get("type") for block in blocks]
        if message["role"] == "assistant" and "tool_use" in kinds and "thinking" not in kinds:
            yield "thinking lost"
            return


def main() -> None:
    """Serves until its standard input ends; the first line printed is the address."""
    with scripted_vendor() as vendor:
        print(vendor.url, flush=True)
        sys.stdin.read()


@contextmanager
def vendor_process() -> Iterator[str]:
    """The address of a vendor in a process of its own, which leaves this one's time to the client."""
    command = [sys.executable, "-m", "lab.bench.agents.vendor"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate()


if __name__ == "__main__":
    main()
