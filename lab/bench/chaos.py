"""A thousand faults under requests: `python -m lab.bench.chaos --seed 7`; tests/e2e/chaos/campaign.py says what is
asked of each.

Each round is a line of `lab/bench/results/chaos-SEED.jsonl` as soon as it has ended: the same command again goes on
from there. A round that fails prints its number; `--only N` with the same seed runs it alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

from lab.bench.common import RESULTS, Figures, commit_of, report
from tandem.paths import REPOSITORY
from tests.e2e.chaos.campaign import Load, run, run_on_stacks

Line = dict[str, Any]
"""A tests.e2e.chaos.campaign.Round as JSON."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=560)
    arguments.add_argument("--requests", type=int, default=10, help="of a round")
    arguments.add_argument("--faults", type=int, default=3, help="at most so many at once")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--stacks", type=int, default=2, help="so many rounds at once, each on a stack of its own")
    arguments.add_argument("--minutes", type=float, default=inf, help="begin no round after so many")
    arguments.add_argument("--only", type=int, help="the number of one round; nothing is written")
    options = arguments.parse_args()
    load = Load(options.requests, options.faults, options.seed)
    if options.only is not None:
        rounds = list(run(load, [options.only]))
        print(*rounds, sep="\n")
        sys.exit(any(each.defects for each in rounds))
    file = RESULTS / f"chaos-{load.seed}.jsonl"
    missing = sorted(set(range(options.rounds)) - {line["number"] for line in _begun(file, load)})
    until = time.monotonic() + 60 * options.minutes
    for each in run_on_stacks(load, missing, options.stacks, lambda: time.monotonic() < until):
        print(each, flush=True)
        with file.open("a") as appended:
            appended.write(json.dumps(asdict(each)) + "\n")
    head, lines = _read(file)
    figures = {**head, "rounds": len(lines), **_figures(lines)}
    report("chaos", figures)
    print(_table(figures))
    sys.exit(any(line["defects"] for line in lines))


def _begun(file: Path, load: Load) -> list[Line]:
    """What the file has; a new one where there is none. Ends the process where the file is of another load."""
    if not file.exists():
        file.write_text(json.dumps({"load": asdict(load), "revision": commit_of(REPOSITORY)}) + "\n")
    head, lines = _read(file)
    if head["load"] != asdict(load):
        raise SystemExit(f"{file} has rounds of {head['load']}: give another --seed, or remove it")
    return lines


def _read(file: Path) -> tuple[Figures, list[Line]]:
    head, *lines = (json.loads(line) for line in file.read_text().splitlines())
    return head, lines


def _figures(lines: Sequence[Line]) -> Figures:
    """By fault; a round with several counts for each."""
    kinds = sorted({fault["kind"] for line in lines for fault in line["faults"]})
    by_fault = {
        kind: [line for line in lines if any(fault["kind"] == kind for fault in line["faults"])] for kind in kinds
    }
    return {
        "faults": sum(len(line["faults"]) for line in lines),
        "requests": sum(sum(line["endings"].values()) for line in lines),
        "all": _sums(lines),
        "by_fault": {kind: _sums(found) for kind, found in by_fault.items()},
        "failed": [line for line in lines if line["defects"]],
    }


def _sums(lines: Iterable[Line]) -> Figures:
    endings: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for line in lines:
        endings.update(line["endings"])
        engines = line["engines"].items()
        sums["rounds"] += 1
        sums["generated_tokens"] += sum(count for name, count in engines if name.endswith("output"))
        sums["generated_on_no_bill"] += line["missing"]
        sums["read_on_no_bill"] += line["read"]
        sums["bills_with_a_note_of_loss"] += line["noted"]
        sums["rounds_with_a_defect"] += bool(line["defects"])
    return {"endings": dict(endings), **sums}


_ENDINGS = ("rounds", "answer", "cancelled", "clear error", "rounds with a defect")
_TOKENS = ("generated", "generated, on no bill", "read, on no bill", "notes of loss")


def _table(figures: Figures) -> str:
    """How requests ended and what became of their tokens, in Markdown, for docs/results.md."""
    kinds = {**figures["by_fault"], "all rounds": figures["all"]}
    endings = [
        (kind, sums["rounds"], *(sums["endings"].get(name, 0) for name in _ENDINGS[1:4]), sums["rounds_with_a_defect"])
        for kind, sums in kinds.items()
    ]
    keys = ("generated_tokens", "generated_on_no_bill", "read_on_no_bill", "bills_with_a_note_of_loss")
    tokens = [(kind, *(sums[key] for key in keys)) for kind, sums in kinds.items()]
    return "\n\n".join(_markdown(columns, rows) for columns, rows in ((_ENDINGS, endings), (_TOKENS, tokens)))


def _markdown(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [f"| fault | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {kind} | {' | '.join(f'{number:,}' for number in numbers)} |" for kind, *numbers in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
