"""Each agent finishes a task of four turns on each protocol that it speaks, directly and through Tandem: `make agents`.

Prints the table agent x protocol, and writes lab/bench/results/agents.json, from which
docs/results.md has it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from lab.bench.agents.catalog import AGENTS, Agent
from lab.bench.agents.figures import Ran, row
from lab.bench.agents.install import WITHOUT, install
from lab.bench.agents.stack import PAIR, http_address, vendor_stack
from lab.bench.agents.table import table as as_table
from lab.bench.agents.table import write_page
from lab.bench.agents.tee import tee
from lab.bench.agents.trial import run_agent
from lab.bench.agents.vendor import LARGE, SMALL, Vendor, scripted_vendor
from lab.bench.common import RESULTS, Figures, commit_of, save
from tandem.paths import REPOSITORY

_NAME = "agents"


@dataclass(frozen=True)
class Way:
    """`url` answers; `through` is empty for the vendor itself."""

    url: str
    vendor: Vendor
    model: str
    small: str


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", default="", help="names of agents, or agent/protocol, separated by commas")
    arguments.add_argument("--json", action="store_true", help="print the file of results instead of the table")
    arguments.add_argument("--no-install", action="store_true")
    options = arguments.parse_args()
    chosen = _chosen([name for name in options.only.split(",") if name])
    if not options.no_install:
        install({agent for agent, _ in chosen})
    rows = {f"{agent.name}/{protocol}": found for agent, protocol, found in _rows(chosen)}
    whole = save(_NAME, _figures({**_earlier(bool(options.only)), **rows}))
    write_page(whole)
    print(json.dumps(whole, indent=2) if options.json else as_table(whole))
    if failed := [name for name, found in rows.items() if not found["tandem"]["finished"]]:
        raise SystemExit(f"through Tandem these did not finish: {', '.join(failed)}")


def _chosen(names: Sequence[str]) -> list[tuple[Agent, str]]:
    every = [(agent, protocol) for agent in AGENTS for protocol in agent.protocols]
    return [(a, p) for a, p in every if not names or a.name in names or f"{a.name}/{p}" in names]


def _rows(chosen: Sequence[tuple[Agent, str]]) -> list[tuple[Agent, str, Figures]]:
    """Those of one vendor with one stack."""
    found = []
    for kind in LARGE:
        of_kind = [(a, p) for a, p in chosen if (p == "messages") == (kind == "anthropic")]
        if not of_kind:
            continue
        with ExitStack() as started:
            vendor = started.enter_context(scripted_vendor())
            stack = started.enter_context(vendor_stack(vendor.url, kind))
            direct = Way(vendor.url, vendor, LARGE[kind], SMALL[kind])
            tandem = Way(http_address(stack), vendor, PAIR, f"{PAIR}/slm")
            for agent, protocol in of_kind:
                print(f"{agent.name} {protocol}", file=sys.stderr, flush=True)
                found.append((agent, protocol, row(_ran(agent, protocol, direct), _ran(agent, protocol, tandem))))
    return found


def _ran(agent: Agent, protocol: str, way: Way) -> Ran:
    way.vendor.forget()
    with tee(way.url) as between:
        ended = run_agent(agent, between.url, protocol, way.model, way.small)
    return Ran(ended, list(between.seen), list(way.vendor.turns))


def _earlier(is_part: bool) -> Figures:
    """Rows of the last run stay where this one is of a part."""
    file = RESULTS / f"{_NAME}.json"
    rows: Figures = json.loads(file.read_text())["rows"] if is_part and file.is_file() else {}
    return rows


def _figures(rows: Figures) -> Figures:
    order = [f"{agent.name}/{protocol}" for agent in AGENTS for protocol in agent.protocols]
    return {
        "command": "make agents",
        "n": 1,
        "seed": "none: the vendor's answers follow from the conversation",
        "commit": commit_of(REPOSITORY),
        "models": {"large": LARGE, "small": SMALL},
        "versions": {agent.name: agent.version for agent in AGENTS},
        "not_to_be_had": WITHOUT,
        "rows": {name: rows[name] for name in order if name in rows},
    }


if __name__ == "__main__":
    main()
