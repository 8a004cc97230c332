"""The bench of coding agents: what its scripted vendor says and counts, and the rows of its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.bench.agents import protocols
from lab.bench.agents.catalog import AGENTS
from lab.bench.agents.figures import Ran, row
from lab.bench.agents.prefix_cache import Counted, Part, PrefixCache
from lab.bench.agents.protocols import CHAT, MESSAGES, RESPONSES
from lab.bench.agents.script import DONE, FILE, Asked, Step, next_step, task
from lab.bench.agents.table import BEGIN, END, write_page
from lab.bench.agents.tee import Exchange
from lab.bench.agents.trial import Ended
from lab.bench.agents.vendor import LARGE, Turn, Vendor

LONG = "x" * 8192
READ = {"type": "object", "properties": {"file_path": {"type": "string"}}, "required": ["file_path"]}
SHELL = {"type": "object", "properties": {"command": {"type": "array"}}, "required": ["command"]}
MARK = {"cache_control": {"type": "ephemeral"}}


def test_the_script_takes_tools_by_their_usual_names_and_a_shell_for_those_that_lack() -> None:
    tools, text = {"Read": READ, "shell": SHELL}, task(Path("/w"))
    steps = [next_step(Asked(tools, results, text=text)) for results in range(4)]
    assert [step.call for step in steps] == ["Read", "shell", "shell", ""]
    assert steps[0].arguments == {"file_path": f"/w/{FILE}"}
    assert steps[1].arguments["command"][-1].startswith("sed -i")
    assert steps[3].text == DONE


def test_openais_cache_keeps_what_begins_alike_and_anthropics_what_a_mark_ends() -> None:
    cache, parts = PrefixCache(), [Part(LONG), Part("one")]
    assert cache.openai(parts) == Counted(2049)
    assert cache.openai([*parts, Part(LONG)]).cached == 2048
    marked = [Part(LONG, "5m"), Part("one")]
    other = PrefixCache()
    assert other.anthropic(marked) == Counted(2049, 0, 2048)
    assert other.anthropic([*marked, Part(LONG, "1h")]) == Counted(4097, 2048, 0, 2049)
    assert other.anthropic([Part(LONG), Part("one")]).cached == 0


def test_the_vendor_refuses_what_a_vendor_refuses() -> None:
    vendor, tool = Vendor(), {"role": "tool", "tool_call_id": "c", "content": ""}
    said = vendor.answer(CHAT, {"model": LARGE["openai"], "messages": [tool]})
    assert (said.status, said.body["error"]["message"]) == (400, "results of calls that nobody made: ['c']")
    system = [{"type": "text", "text": "", **MARK}] * 5
    assert vendor.answer(MESSAGES, {"model": LARGE["anthropic"], "system": system, "messages": []}).status == 400


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (CHAT, {"messages": [{"role": "user", "content": "hi"}]}),
        (RESPONSES, {"input": "hi", "instructions": LONG}),
        (MESSAGES, {"messages": [{"role": "user", "content": "hi"}], "system": LONG, "max_tokens": 9}),
    ],
)
def test_each_protocol_is_answered_whole_and_in_pieces(path: str, said: dict[str, Any]) -> None:
    vendor, body = Vendor(), {**said, "model": LARGE["openai"]}
    assert protocols.asked(path, body).text.endswith("hi")
    assert vendor.answer(path, body).body["usage"]
    assert vendor.answer(path, {**body, "stream": True}).events
    assert all(turn.is_appended for turn in vendor.turns)


def test_an_answer_that_is_held_back_while_the_next_turn_comes_breaks_no_prefix() -> None:
    def turn(*texts: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": text} for text in texts]
        return {"model": LARGE["openai"], "messages": messages, "tools": [{"function": {"name": "shell"}}]}

    def held(asked: Asked) -> Step:
        vendor.next_step = next_step
        vendor.answer(CHAT, turn("one", "two"))
        return next_step(asked)

    vendor = Vendor(next_step=held)
    vendor.answer(CHAT, turn("one"))
    vendor.answer(CHAT, turn("one", "two", "three"))
    assert [turn.is_appended for turn in vendor.turns] == [True, True, True]


def ran(fields: set[str], *, usd: float | None = None, dropped: set[str] = frozenset()) -> Ran:  # type: ignore[assignment]
    exchange = Exchange(CHAT, 200, frozenset({"model", "top_k", "seed"}), 0.25, frozenset(dropped), "", usd)
    refused = Exchange(CHAT, 400, frozenset(), 0.25, error='{"error": {"message": "\'top_k\' is refused"}}')
    turn = Turn("chat", LARGE["openai"], frozenset(fields), Counted(1000, 500), 10, 0, True)
    return Ran(Ended(True, 0, 1.0, ""), [exchange, refused] if dropped else [exchange], [turn])


def test_a_row_says_what_became_of_each_parameter_and_what_both_ways_cost() -> None:
    found = row(ran({"seed", "top_k"}), ran({"seed"}, usd=0.002, dropped={"top_k"}))
    assert (found["passed"], found["dropped"], found["translated"]) == (["seed"], ["top_k"], [])
    assert (found["tandem"]["refused"], found["tandem"]["usd_billed"]) == (["top_k"], 0.002)
    assert (found["direct"]["cached_share"], found["usd_ratio"], found["added_ms"]) == (0.5, 1, 0)


def test_the_table_of_the_page_is_made_from_the_file(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    found = row(ran({"seed"}), ran({"seed"}))
    write_page({"rows": {"aider/chat": found}, "versions": {"aider": "1"}, "n": 1, "at": "2026-12-01T00"}, page)
    assert "| aider, chat | 50 %, 50 % |" in page.read_text()
    assert page.read_text().startswith("before\n")
    assert page.read_text().endswith(f"{END}\nafter\n")


def test_nine_agents_at_least_are_tried_each_in_one_version() -> None:
    assert len(AGENTS) >= 9
    assert all(agent.version[0].isdigit() for agent in AGENTS)
