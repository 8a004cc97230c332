"""`python -m lab.promise.simulate`: simulate promises that learn on live traffic, print the figures as tables, and keep
them in lab/promise/results.json. `--json` prints that file instead.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from lab.pages import table
from lab.promise.drifts import TERMS as DRIFT_TERMS
from lab.promise.drifts import drifts
from lab.promise.false_promises import LOSES, PROMISED, false_promises
from lab.promise.shares import Figures
from lab.promise.spending import TERMS, published, spending

RESULTS = Path(__file__).parent / "results.json"
RUNS, SEED = 200, 0
_FALSE_RUNS = 20
"""A false promise is rare: so many times the runs."""
_PUBLISHED_RUNS = 0.1
"""There are forty triples: such a part of the runs for each."""


def simulate(runs: int, seed: int) -> Figures:
    of_triples = max(2, round(runs * _PUBLISHED_RUNS))
    return {
        "false_promises": {"promised": PROMISED, "loses": LOSES, **false_promises(_FALSE_RUNS * runs, seed)},
        "kinds": {"terms": asdict(TERMS), **spending(runs, seed)},
        "triples": {"runs_each": of_triples, **published(of_triples, seed)},
        "drift": {"terms": asdict(DRIFT_TERMS), **drifts(runs, seed)},
    }


def about(command: str, runs: int, seed: int) -> Figures:
    versions = {name: version(name) for name in ("tandem-insights", "numpy", "scipy")}
    return {
        "command": command,
        "seed": seed,
        "runs": runs,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **versions},
    }


def tables(found: Figures) -> str:
    kinds = [(name, each) for name, each in found["kinds"].items() if name != "terms"]
    return "\n".join(
        [
            table(
                "a false promise | share of streams",
                (f"{name} | {_share(each)}" for name, each in found["false_promises"].items() if _is_figures(each)),
            ),
            table(
                "kind | shown | sampled until shown | requests | labels | spend | lost, % | closings in 20,000",
                [_spending_row(*each) for each in kinds],
            ),
            table(
                "triples | shown | sampled until shown | requests | labels | spend | lost, % | closings in 20,000",
                (_triples_row(name, each) for name, each in found["triples"].items() if _is_figures(each)),
            ),
            table(
                "change | closed by | closed | after requests | lost | labels | closed before the change",
                (
                    _drift_row(change, by, each)
                    for change, ways in found["drift"].items()
                    if change != "terms"
                    for by, each in ways.items()
                ),
            ),
        ]
    )


def _is_figures(value: object) -> bool:
    return isinstance(value, dict)


def _share(found: Figures) -> str:
    return f"{found['share']:.1%} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def _middle(found: Figures | None) -> str:
    return "" if found is None else f"{found['median']:.0f} ({found['p5']:.0f} to {found['p95']:.0f})"


def _spending_row(name: str, each: Figures) -> str:
    spend = ", ".join(f"{100 * at['mean']:.0f}" for at in each["spend"].values())
    lost = ", ".join(f"{100 * at['mean']:.2f}" for at in each["lost"].values())
    untils = (each[f"{what}_until_shown"] for what in ("sampled", "requests", "labels"))
    shown, closed = _share(each["shown"]), _mean(each["closed"])
    return f"{name} | {shown} | {' | '.join(map(_middle, untils))} | {spend} % | {lost} | {closed}"


def _mean(found: Figures) -> str:
    return f"{found['mean']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def _triples_row(title: str, triples: dict[str, Figures]) -> str:
    """Medians over the triples, and the range."""
    each = list(triples.values())
    untils = (
        _range([one[f"{what}_until_shown"]["median"] for one in each if one[f"{what}_until_shown"]])
        for what in ("sampled", "requests", "labels")
    )
    spend = ", ".join(_range([100 * one["spend"][at]["mean"] for one in each]) for at in each[0]["spend"])
    lost = ", ".join(_range([100 * one["lost"][at]["mean"] for one in each], 2) for at in each[0]["lost"])
    closed = _range([one["closed"]["mean"] for one in each], 2)
    is_shown = _range([100 * one["shown"]["share"] for one in each])
    return f"{title}, {len(each)} | {is_shown} % | {' | '.join(untils)} | {spend} % | {lost} | {closed}"


def _range(values: Sequence[float], digits: int = 0) -> str:
    if not values:
        return ""
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _drift_row(change: str, by: str, each: Figures) -> str:
    if "closed" not in each:
        return f"{change} | {by} | no arm served | | | |"
    middles = " | ".join(_middle(each[what]) for what in ("closed_after", "lost", "labels"))
    return f"{change} | {by} | {_share(each['closed'])} | {middles} | {_share(each['closed_before'])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="streams of each figure; 20 times as many of false promises"
    )
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    command = shlex.join(["python", "-m", "lab.promise.simulate", *sys.argv[1:]])
    found = {**about(command, options.runs, options.seed), **simulate(options.runs, options.seed)}
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    RESULTS.write_text(text)
    print(text if options.json else tables(found))


if __name__ == "__main__":
    main()
