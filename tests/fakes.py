"""An engine that follows a script in the question: `[key=value ...]`. The only fake of the tests, at the engine seam.

A token is a byte. Keys: `ms` per token (default 1); `llm_eos` / `slm_eos` tokens after which that model ends; `llm` /
`slm`, and `second` of the second small model with keys of the same kind, the text it generates, repeated ("_" is a
space, "|" a line break); `scores` as `tokens:score,...`: the score of an insight of at least so many tokens, for the
untrained scorer; `repaired`: the text with which it corrects one that it reads; `score_ms`; `ahead_ms` that a
prefill-only request takes; `fail` one of llm, slm, score; `llm_hold` / `slm_hold` as `tokens` or `tokens:file`: after
so many tokens that model waits until it is aborted, or until the file is gone (tests.conftest.Hold), so that a test
acts at this token on a machine of any speed.

`turns`: instead of `llm` and `slm`, texts joined by `;;`, of which each turn of the assistant's writes the next one and
ends.

Where tools may be called and there is no script, it calls the first of them. With TANDEM_TEST_JOURNAL every token is
also counted in that file, so that a kill loses no count.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from services.models.engine.api import (
    DuplicateRequest,
    EngineCounters,
    EngineLoad,
    EngineStopped,
    Finished,
    FinishReason,
    GenerationRequest,
    ModelInfo,
    PromptScores,
    Token,
)
from services.models.engine.call_format import CallFormat, Grammar, Turn
from services.models.engine.chat_template import ChatTemplate
from services.models.engine.loop.prefix_cache import common_prefix
from services.models.engine.text import StopStrings
from tandem.method.tokens import TokenCounts

_SCRIPT = re.compile(r"\[([^\]]*)\]")
_EOS = 0
_HEADER = "\nassistant: "
_TEMPLATE = ChatTemplate(
    "{% for tool in tools or [] %}{{ tool | tojson }}{{ '\n' }}{% endfor %}"
    "{% for m in messages %}{{ m.role }}: {{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments | tojson }}</call>{% "
    "endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '\nassistant: ' }}{% endif %}",
    {},
)
_POLL_SECONDS = 0.02
_CACHED = 1000  # prompts whose prefixes are found cached

T = TypeVar("T")


class ByteTokenizer:
    sha256 = "0" * 64

    def encode(self, text: str, *, plain: bool = False) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(i for i in ids if i).decode(errors="replace")

    def render_chat(self, messages: Sequence[tuple[str, str] | Turn], tools: Sequence[Turn] = ()) -> str:
        return _TEMPLATE.render(messages, tools)

    @property
    def calls(self) -> CallFormat:
        return _TEMPLATE.calls


class JournalledCounters(EngineCounters):
    """Counters that are also in a file: lines of `role kind count`, each appended by one write."""

    __slots__ = ("_file", "_role")

    def __init__(self, role: str, path: str) -> None:
        self._role = role
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and (more := value - getattr(self, name, 0)):
            os.write(self._file, f"{self._role} {name.removesuffix('_tokens')} {more}\n".encode())
        object.__setattr__(self, name, value)


class ScriptedEngine:
    def __init__(self, name: str, max_batch: int = 16) -> None:
        """Requests above `max_batch` count as waiting, and run all the same."""
        self._name, self._max_batch = name, max_batch
        self._role = next((role for role in ("llm", "second", "third") if name.endswith(role)), "slm")
        self.tokenizer = ByteTokenizer()
        journal = os.environ.get("TANDEM_TEST_JOURNAL")
        self.counters = JournalledCounters(self._role, journal) if journal else EngineCounters()
        self._aborted: dict[str, asyncio.Event] = {}
        self._ahead: dict[str, tuple[int, ...]] = {}
        self.scored_for = Counter[str]()  # by request
        self._scored: dict[str, list[int]] = {}

    @property
    def info(self) -> ModelInfo:
        return ModelInfo(self._name, "", "float32", "cpu", 1, 100_000, "scripted", "1")

    @property
    def running(self) -> list[str]:
        return list(self._aborted)

    @property
    def load(self) -> EngineLoad:
        running = min(len(self._aborted), self._max_batch)
        return EngineLoad(running, len(self._aborted) - running)

    is_alive = True
    continues_json = True

    def start(self) -> None:
        pass

    def stop(self) -> None:
        for event in self._aborted.values():
            event.set()

    def abort(self, request_id: str) -> bool:
        event = self._aborted.get(request_id)
        if event is not None:
            event.set()
        return event is not None

    async def generate(self, generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        if generation.request_id in self._aborted:
            raise DuplicateRequest(generation.request_id)
        script = _script(self.tokenizer.decode(generation.prompt_ids))
        if not generation.max_new_tokens:
            yield await self._prefill_only(generation, float(script.get("ahead_ms", 0)) / 1000)
            return
        if script.get("fail") == self._role:
            raise EngineStopped("the script says so")
        # A continued answer begins where the script's text was cut.
        done = len(self.tokenizer.decode(generation.prompt_ids).split(_HEADER)[-1]) if self._role == "llm" else 0
        text = script.get(self._role, "x" if self._role == "llm" else "y ")
        if "assistant: " in self.tokenizer.decode(generation.prompt_ids).rpartition(_HEADER)[0]:
            text = script.get("repaired", text)
        text = text.replace("_", " ").replace("|", "\n")
        last = int(script.get(f"{self._role}_eos", 10**9 if self._role == "llm" else 30))
        if "turns" in script:
            text = _turn(script["turns"], self.tokenizer.decode(generation.prompt_ids))
            last = len(text) + 1
        if isinstance(generation.held_to, Grammar) and not script:
            text = _call_of_the_first_tool(self.tokenizer.decode(generation.prompt_ids))
            last = len(text) + 1
        delay = float(script.get("ms", 1)) / 1000
        aborted = self._aborted[generation.request_id] = asyncio.Event()
        generated, reason, began = 0, FinishReason.ABORTED, time.monotonic()
        computed, cached = self._prefill(generation)
        stops = StopStrings(generation.stops.strings, generation.stops.held)
        try:
            while not aborted.is_set():
                generated += 1
                self.counters.output_tokens += 1
                is_last = done + generated >= last
                letter = text[(done + generated - 1) % len(text)]
                first = computed if generated == 1 else None
                now = time.time()
                written = (_EOS, "") if is_last else (ord(letter), stops.push(letter))
                yield Token(*written, now, first)
                has_ended = is_last or stops.has_matched
                if has_ended or generated >= generation.max_new_tokens:
                    reason = FinishReason.EOS if has_ended else FinishReason.LENGTH
                    break
                # Like an engine with a thread of its own: a busy event loop does not slow it down.
                began += await _held(script.get(f"{self._role}_hold", ""), done + generated, aborted)
                pause = began + generated * delay - time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(aborted.wait(), max(pause, 0))
            rest = stops.last(is_aborted=reason is FinishReason.ABORTED)
            yield Finished(reason, TokenCounts(computed, cached, generated), rest, time.time())
        finally:
            self._aborted.pop(generation.request_id, None)

    async def _prefill_only(self, generation: GenerationRequest, wait: float) -> Finished:
        aborted = self._aborted[generation.request_id] = asyncio.Event()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(aborted.wait(), wait)
        finally:
            del self._aborted[generation.request_id]
        if aborted.is_set():
            return Finished(FinishReason.ABORTED, TokenCounts(), "", time.time())
        return Finished(FinishReason.LENGTH, TokenCounts(*self._prefill(generation)), "", time.time())

    def _prefill(self, generation: GenerationRequest) -> tuple[int, int]:
        """Tokens (computed, cached): what was prefilled ahead for the same request is not computed again."""
        request = generation.request_id.partition("/")[0]
        ahead = self._ahead.get(request, ())
        cached = min(common_prefix(ahead, generation.prompt_ids), len(generation.prompt_ids) - 1)
        if not generation.max_new_tokens:
            _keep(self._ahead, request, generation.prompt_ids)
        self.counters.input_tokens += len(generation.prompt_ids) - cached
        return len(generation.prompt_ids) - cached, cached

    async def score(self, key: str, prompt_ids: Sequence[int]) -> PromptScores:
        text = self.tokenizer.decode(prompt_ids)
        script = _script(text)
        await asyncio.sleep(float(script.get("score_ms", 0)) / 1000)
        if script.get("fail") == "score":
            raise RuntimeError("the script says so")
        insight = len(text.split(_HEADER)[-1]) if _HEADER in text else 0
        if " INSIGHT " in text:
            insight = len(text.split(" INSIGHT ")[-1]) - len(_HEADER)
        value = 0.1
        for pair in filter(None, script.get("scores", "").split(",")):
            tokens, score = pair.split(":")
            value = float(score) if insight >= int(tokens) else value
        known = self._scored.get(key, [])
        cached = len(known) if list(prompt_ids[: len(known)]) == known else 0
        _keep(self._scored, key, list(prompt_ids))
        count = len(prompt_ids) - 1
        self.counters.scored_tokens += len(prompt_ids) - cached
        self.scored_for[key] += len(prompt_ids) - cached
        entropies = np.full(count, -math.log(max(value, 1e-9)), np.float32)
        usage = TokenCounts(len(prompt_ids) - cached, cached)
        return PromptScores(np.full(count, -1.0, np.float32), entropies, np.empty((0, 0), np.float32), usage)


def _keep(cache: dict[str, T], key: str, value: T) -> None:
    """In a cache of the last ones."""
    cache.pop(key, None)
    cache[key] = value
    if len(cache) > _CACHED:
        del cache[next(iter(cache))]


def make_engine(arguments: dict[str, Any]) -> ScriptedEngine:
    """For TANDEM_ENGINE=tests.fakes:make_engine."""
    return ScriptedEngine(arguments["name"])


def write_tokenizer(folder: Path) -> None:
    """The gateway counts tokens with the small model's tokenizer.json: here one whose tokens are bytes."""
    folder.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")


async def _held(hold: str, tokens: int, aborted: asyncio.Event) -> float:
    """Wait where the script says so. Returns the seconds waited."""
    began = time.monotonic()
    at, _, file = hold.partition(":")
    is_held = Path(file).exists if file else lambda: True
    if at and tokens == int(at):
        while not aborted.is_set() and is_held():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(aborted.wait(), _POLL_SECONDS)
    return time.monotonic() - began


def _call_of_the_first_tool(prompt: str) -> str:
    """What a model writes that has no script, and tools: all that is required is "x"."""
    function = json.loads(prompt.partition("\n")[0])["function"]
    arguments = dict.fromkeys(function["parameters"].get("required", ()), "x")
    return f"<call>{function['name']} {json.dumps(arguments)}</call>"


def _turn(turns: str, prompt: str) -> str:
    """Of an agent's whole task, by how often the assistant has spoken."""
    texts = turns.split(";;")
    return texts[min(prompt.count("assistant: "), len(texts)) - 1].replace("_", " ")


def _script(text: str) -> dict[str, str]:
    """What stands in brackets and is no script, such as a JSON schema's list, says nothing. A tool's result may begin
    with one.
    """
    for found in _SCRIPT.finditer(text.rpartition("tool: [")[1][-1:] + text.rpartition("tool: [")[2]):
        if pairs := dict(pair.split("=", 1) for pair in found.group(1).split() if "=" in pair):
            return pairs
    return {}
