"""Compare two checkouts: run one bench of each in turns (A B A B ...), so that other load affects both alike.

    python -m lab.bench.compare stop PATH_A PATH_B --rounds 5 --runs 50

A is the baseline, B the candidate; unknown options, here `--runs 50`, go to the bench. Each checkout runs its own bench
in its own folder with its own `.venv/bin/python`, so the two may be of different versions. Their result files are
restored afterwards. The ratio B / A is of the means over rounds, with a 95 % bootstrap interval over rounds; it is left
out where a round of either is not above 0. The result goes to lab/bench/results/compare-BENCH.json, and names the
checkouts by commit.

The interval needs some rounds: with fewer than five it says little.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from lab.bench.common import commit_of, report
from lab.training.metrics import Interval, ratio_of_means

_ATTEMPTS = 3  # a stack's start fails if another process takes one of its ports meanwhile
_COMPARED = {
    "stop": r".*_(ms|tokens)\.p(50|90)|peak_memory_mb\..*",
    "orchestration": r"sequential\..*_ms\.p(50|90)",
    "ledger": r"(calm|kills)\.(difference\..*|discarded_tokens|requests_with_a_note_of_loss)",
    "scaling": r"points\.\d+\.(requests_per_second\..*|relative_to\..*\.mean|latency_ms\.p50|processor_ms_per_request\.system\..*)",  # noqa: E501
}
"""By bench: the figures, as paths in its result."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of both checkouts. `a` and `b` have one value per round; `ratio` is B / A."""

    a: list[float]
    b: list[float]
    ratio: Interval | None

    @classmethod
    def of(cls, a: list[float], b: list[float]) -> Comparison:
        has_ratio = min(*a, *b) > 0
        return cls(a, b, ratio_of_means(np.array(b), np.array(a)) if has_ratio else None)

    def __str__(self) -> str:
        return f"{np.mean(self.a):>12.3f} {np.mean(self.b):>12.3f}   {self.ratio or '-'}"


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    arguments.add_argument("bench", choices=list(_COMPARED))
    arguments.add_argument("a", type=Path, help="checkout of the baseline")
    arguments.add_argument("b", type=Path, help="checkout of the candidate")
    arguments.add_argument("--rounds", type=int, default=5)
    options, bench_options = arguments.parse_known_args()
    checkouts = {"a": options.a.resolve(), "b": options.b.resolve()}
    rounds: dict[str, list[dict[str, float]]] = {"a": [], "b": []}
    for _ in track(range(options.rounds), description="rounds"):
        for name, checkout in checkouts.items():
            rounds[name].append(_figures(checkout, options.bench, bench_options))
    comparisons = _compare(rounds["a"], rounds["b"])
    report(
        f"compare-{options.bench}",
        {
            "rounds": options.rounds,
            "options": bench_options,
            "commits": {name: commit_of(checkout) for name, checkout in checkouts.items()},
            "figures": {figure: asdict(comparison) for figure, comparison in comparisons.items()},
        },
    )
    print(f"\n{'mean over rounds':<48} {'A':>12} {'B':>12}   B / A [95 %]")
    for figure, comparison in comparisons.items():
        print(f"{figure:<48} {comparison}")


def _compare(a: list[dict[str, float]], b: list[dict[str, float]]) -> dict[str, Comparison]:
    """Of the figures that every round of both has."""
    common = set.intersection(*(set(each) for each in (*a, *b)))
    shared = [figure for figure in a[0] if figure in common]
    return {figure: Comparison.of([each[figure] for each in a], [each[figure] for each in b]) for figure in shared}


def _figures(checkout: Path, bench: str, options: list[str]) -> dict[str, float]:
    """Run the bench once. Returns its compared figures, and the seconds that the program took in all."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [str(checkout / ".venv" / "bin" / "python"), "-m", f"lab.bench.{bench}", *options]
    for attempt in range(_ATTEMPTS):
        with _restored(checkout / "lab" / "bench" / "results"):
            started = time.perf_counter()
            done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
            seconds = time.perf_counter() - started
        if not done.returncode:
            break
        print(f"attempt {attempt + 1} in {checkout} ended with {done.returncode}:\n{done.stderr}", file=sys.stderr)
    else:
        raise SystemExit(f"{' '.join(command)} in {checkout} failed {_ATTEMPTS} times")
    result = json.loads(done.stdout[done.stdout.index("{\n") :])  # after the progress bar
    wanted = re.compile(_COMPARED[bench])
    return {path: value for path, value in _numbers(result) if wanted.fullmatch(path)} | {"program_seconds": seconds}


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a result, with its path. A list's elements are named by how many requests were concurrent."""
    if isinstance(value, list):
        value = {each["concurrent"]: each for each in value if isinstance(each, dict)}
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _numbers(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, int | float):
        yield path, float(value)


@contextmanager
def _restored(folder: Path) -> Iterator[None]:
    """Restore the files of `folder` after the block."""
    before = {file: file.read_bytes() for file in _files(folder)}
    try:
        yield
    finally:
        for file in set(_files(folder)) - set(before):
            file.unlink()
        for file, content in before.items():
            file.write_bytes(content)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_file()]


if __name__ == "__main__":
    main()
