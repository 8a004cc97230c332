"""Sessions of many turns through a vendor that caches prefixes: the bill is the vendor's own count, and no dearer than
without Tandem.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.api_writer import ApiWriter
from services.models.engine.remote.openai_writer import OpenAIWriter
from tandem.method.profile.prices import RolePrices
from tandem.method.tokens import TokenCounts
from tests.recorded_api import Answer, anthropic_events, openai_chunks, openai_usage, recorded_api
from tests.unit.test_api_engines import CLAUDE, MODELS, request, started, whole

PRICES = RolePrices(3.0, 0.3, 15.0, cache_write=3.75, cache_write_hour=6.0)
BLOCK = 64  # tokens that such a cache keeps or does not


@dataclass
class Vendor:
    """A token is four characters of what is said; it keeps what it has read, and a third of that for an hour."""

    known: list[str] = field(default_factory=list)
    counted: list[TokenCounts] = field(default_factory=list)

    def count(self, body: dict[str, Any]) -> TokenCounts:
        said = json.dumps([plain(body.get("system")), body.get("tools"), plain(body["messages"])])
        shared = max((common(said, earlier) for earlier in self.known), default=0) // 4
        cached = shared // BLOCK * BLOCK
        self.known.append(said)
        read = len(said) // 4 - cached
        hour = read // 3
        self.counted.append(TokenCounts(read, cached, 2, written=read - hour, written_hour=hour))
        return self.counted[-1]

    def openai(self, path: str, body: dict[str, Any]) -> Answer:
        if "/models" in path:
            return MODELS
        counted = self.count(body)
        usage = openai_usage(counted.read, 2, counted.cached)
        usage["prompt_tokens_details"]["cache_write_tokens"] = counted.prompt
        self.counted[-1] = TokenCounts(counted.prompt, counted.cached, 2, written=counted.prompt)
        return Answer(events=openai_chunks(["It", " is."], usage))

    def anthropic(self, path: str, body: dict[str, Any]) -> Answer:
        if "/models" in path:
            return CLAUDE
        counted, hour = self.count(body), self.counted[-1].written_hour
        events = anthropic_events(["It", " is."], 0, 2, cached=counted.cached, written=counted.prompt, hour=hour)
        return Answer(events=events)


@pytest.mark.parametrize("kind", [OpenAIWriter, AnthropicWriter])
@settings(max_examples=5, deadline=None)
@given(said=st.lists(st.text("abc ", min_size=40, max_size=2000), min_size=2, max_size=12))
def test_a_session_is_billed_as_its_vendor_counts_and_costs_what_it_costs_directly(
    kind: type[ApiWriter], said: list[str]
) -> None:
    through, direct = Vendor(), Vendor()
    answer, alone = (each.openai if kind is OpenAIWriter else each.anthropic for each in (through, direct))
    with recorded_api(answer) as api:
        used = asyncio.run(session(started(kind, api), said))
    for turns in growing(said):
        alone("/messages", as_a_client_sends(kind, turns))
    assert used == through.counted
    assert not any(counts.is_estimated for counts in used)
    paid, usd_alone = (sum(PRICES.usd(counts) or 0.0 for counts in each) for each in (used, direct.counted))
    assert paid <= 1.02 * usd_alone


def plain(part: Any) -> Any:
    """Without marks, which are no tokens: a text in a block is the text."""
    if isinstance(part, dict):
        return {name: plain(value) for name, value in part.items() if name != "cache_control"}
    if isinstance(part, list):
        texts = [block["text"] for block in part if block.get("type") == "text"]
        return "".join(texts) if texts else [plain(each) for each in part]
    return part


def common(one: str, other: str) -> int:
    """Characters of their common beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


async def session(engine: ApiWriter, said: list[str]) -> list[TokenCounts]:
    ends = [(await whole(engine, request(turns)))[2] for turns in growing(said)]
    engine.stop()
    return [end.usage for end in ends]


def growing(said: list[str]) -> Iterator[list[tuple[str, str]]]:
    """Each turn has all of those before it."""
    turns = [("system", "Be brief. " * 40)]
    for text in said:
        yield [*turns, ("user", text)]
        turns += [("user", text), ("assistant", "It is.")]


def as_a_client_sends(kind: type[ApiWriter], turns: list[tuple[str, str]]) -> dict[str, Any]:
    messages = [{"role": role, "content": text} for role, text in turns]
    return {"messages": messages} if kind is OpenAIWriter else {"system": turns[0][1], "messages": messages[1:]}
