"""Do the models answer here as they did elsewhere? Two files of `tandem collect`: `python -m lab.bench.answers HERE
FIXTURE`.

Each model alone, greedy, question by question: accuracy, the paired difference, and how often the outcome (right or
wrong), the final answer and the text are the same. Ends with 1 beyond the bounds: a model here is worse (the 95 %
interval of the difference is below 0), or too many of its outcomes are others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lab.bench.common import Figures, report
from lab.training.collect import Run
from lab.training.metrics import accuracy, difference_of_means
from lab.training.store import Origin, read

LEAST_SAME_OUTCOMES = 0.7
_ALONE = {"llm": "large model", "slm": "small model"}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("here", type=Path, help="collected here, with --only-question")
    arguments.add_argument("fixture", type=Path, help="collected before, of the same data set and pair")
    options = arguments.parse_args()
    (origin, here), (origin_before, before) = read(options.here), read(options.fixture)
    if (origin.dataset_sha256, origin.pair) != (origin_before.dataset_sha256, origin_before.pair):
        sys.exit(f"{options.here} and {options.fixture} are of different data sets or pairs")
    found = {name: compared(_alone(here, name), _alone(before, name)) for name in _ALONE}
    engines = {"here": _engine(origin), "fixture": _engine(origin_before)}
    report(f"answers-{origin.dataset.partition(':')[0]}-{origin.engine}", {**engines, **found})
    sys.exit("; ".join(f"the {_ALONE[name]} {fault}" for name, each in found.items() for fault in faults(each)) or 0)


def compared(here: dict[str, Run], before: dict[str, Run]) -> Figures:
    """Runs by question. Questions that only one of them has are left out."""
    pairs = [(run, before[question]) for question, run in here.items() if question in before]
    right, right_before = (np.array([pair[side].right for pair in pairs]) for side in (0, 1))
    return {
        "n": len(pairs),
        "accuracy": vars(accuracy(right)),
        "accuracy_of_fixture": vars(accuracy(right_before)),
        "accuracy_less_its": vars(difference_of_means(right, right_before)),
        "same_outcome": _share([(a.right, b.right) for a, b in pairs]),
        "same_answer": _share([(a.answer, b.answer) for a, b in pairs]),
        "same_text": _share([(a.text, b.text) for a, b in pairs]),
    }


def faults(figures: Figures) -> list[str]:
    """What is beyond the bounds."""
    found, difference = [], figures["accuracy_less_its"]
    if difference["high"] < 0:
        found.append(f"is worse than in the fixture by {-100 * difference['mean']:.0f} points")
    if figures["same_outcome"] < LEAST_SAME_OUTCOMES:
        found.append(f"has the fixture's outcome on only {figures['same_outcome']:.0%} of the questions")
    return found


def _alone(runs: Sequence[Run], name: str) -> dict[str, Run]:
    return {run.question: run for run in runs if run.name == name and run.stage == 0}


def _engine(origin: Origin) -> str:
    return origin.computed_by if origin.engine == "llamacpp" else f"{origin.engine} {origin.profile.llm.quantization}"


def _share(pairs: Sequence[tuple[object, object]]) -> float:
    return float(np.mean([ours == theirs for ours, theirs in pairs]))


if __name__ == "__main__":
    main()
