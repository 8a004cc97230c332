"""Are the bills exact? `python -m lab.bench.ledger --requests 200 --kills 20`; tests/e2e/ledger.py says how it is
measured.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

from rich.progress import track

from lab.bench.common import report
from tests.e2e.ledger import Load, run


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--requests", type=int, default=200)
    arguments.add_argument("--concurrent", type=int, default=8)
    arguments.add_argument("--kills", type=int, default=20, help="processes killed in the second run")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    load = Load(options.requests, options.concurrent, options.seed)
    runs = {"calm": 0, "kills": options.kills}
    report("ledger", {name: asdict(run(load, runs[name])) for name in track(runs, description="runs")})


if __name__ == "__main__":
    main()
