"""A thousand faults under requests: `python -m bench.chaos --rounds 700`; tests/e2e/chaos/campaign.py says what is asked of each.

A round that fails prints its number; `--only N` with the same seed runs it alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from math import inf

from bench.common import Figures, report
from tests.e2e.chaos.campaign import Load, Round, run


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=700)
    arguments.add_argument("--requests", type=int, default=7, help="of a round")
    arguments.add_argument("--faults", type=int, default=2, help="at most so many at once")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--minutes", type=float, default=inf, help="begin no round after so many")
    arguments.add_argument("--only", type=int, help="the number of one round")
    options = arguments.parse_args()
    numbers = range(options.rounds) if options.only is None else [options.only]
    rounds, began = [], time.monotonic()
    for each in run(Load(options.requests, options.faults, options.seed), numbers):
        rounds.append(each)
        print(each, flush=True)
        if time.monotonic() - began > 60 * options.minutes:
            break
    if options.only is None:
        report("chaos", {"seed": options.seed, "rounds": len(rounds), **_figures(rounds)})
    sys.exit(any(each.defects for each in rounds))


def _figures(rounds: Sequence[Round]) -> Figures:
    """By fault; a round with two counts for both."""
    kinds = sorted({fault.kind for each in rounds for fault in each.faults})
    by_fault = {kind: [each for each in rounds if any(fault.kind == kind for fault in each.faults)] for kind in kinds}
    return {
        "faults": sum(len(each.faults) for each in rounds),
        "requests": sum(sum(each.endings.values()) for each in rounds),
        "by_fault": {kind: _sums(found) for kind, found in by_fault.items()},
        "failed": [asdict(each) for each in rounds if each.defects],
    }


def _sums(rounds: Sequence[Round]) -> Figures:
    endings: Counter[str] = Counter()
    generated = 0
    for each in rounds:
        endings += Counter(each.endings)
        generated += sum(count for name, count in each.engines.items() if name.endswith("output"))
    return {
        "rounds": len(rounds),
        "endings": dict(endings),
        "generated_tokens": generated,
        "generated_on_no_bill": sum(each.missing for each in rounds),
        "read_on_no_bill": sum(each.read for each in rounds),
        "bills_with_a_note_of_loss": sum(each.noted for each in rounds),
    }


if __name__ == "__main__":
    main()
