"""Would the entropy of an answer beside its examples make a better proof? `python -m lab.training.confidence DATA ...`

A pass of the prompt's examples is taken only where the mean entropy of the small model's answer is low enough. Thresholds are quantiles
of the passing answers, so the figures are of the questions that the thresholds were chosen on: an upper bound of what a rule can do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lab.training.checking import check_runs, without_verdicts
from lab.training.collect import Run
from lab.training.datasets import Item, load
from lab.training.metrics import auroc, bootstrap
from lab.training.policy import NEVER, Measure, Policy
from lab.training.pricing import Outcome
from lab.training.store import read
from lab.training.table import Floats, Table, make_table
from services.checks.built_in import PYTHON_EXAMPLES
from services.sufficiency_scorer.scorer_inputs import NAMES
from tandem.method.checks import TrialPlan
from tandem.method.plan import Plan, make_plan
from tandem.method.profile import Profile, load_profile

_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_AT_ONCE = 2
_ENTROPY = NAMES.index("entropy_mean")


@dataclass(frozen=True, slots=True)
class Confident:
    """Of the passing answers the `share` with the least entropy, up to `entropy` nats, was used.

    `difference` is the accuracy less the large model's in points, with its paired 95 % interval; costs are percent of the large
    model's alone.
    """

    share: float
    entropy: float
    used: int
    right: int
    difference: tuple[float, float, float]
    full: float
    usd: float


def confident(table: Table, plan: Plan) -> list[Confident]:
    """One for each share."""
    passed = table.slm.passed[:, 0]
    entropy = table.answer_features[:, _ENTROPY].astype(float)
    limits = [float(np.quantile(entropy[passed], share)) for share in _SHARES]
    return [_confident(table, plan, share, limit, entropy) for share, limit in zip(_SHARES, limits, strict=True)]


def _confident(table: Table, plan: Plan, share: float, limit: float, entropy: Floats) -> Confident:
    is_used = table.slm.passed & (entropy <= limit)[:, None]
    seen = replace(table, slm=replace(table.slm, passed=is_used))
    policy = Policy(
        (NEVER,) * table.stages, True, needs_pass=False, trial=TrialPlan([0], max_tokens=plan.trial.max_tokens)
    )
    outcome = policy.run(seen, plan, np.zeros(table.slm.right.shape))
    used = is_used[:, 0]
    costs = {unit: round(100 * float(Measure(table, plan, unit).cost(outcome).mean()), 1) for unit in ("full", "usd")}
    right = int(table.slm.right[used, 0].sum())
    return Confident(share, round(limit, 3), int(used.sum()), right, _difference(table, outcome), **costs)


def _difference(table: Table, outcome: Outcome) -> tuple[float, float, float]:
    gained = 100 * (outcome.right.astype(float) - table.llm.right)
    found = bootstrap(lambda rows: float(gained[rows].mean()), len(gained))
    return round(found.mean, 1), round(found.low, 1), round(found.high, 1)


async def _checked(runs: Sequence[Run], items: Sequence[Item], profile: Profile) -> list[Run]:
    """The runs with verdicts of all of the prompt's examples, however few there are."""
    one_suffices = profile.model_copy(
        update={"checks": profile.checks.model_copy(update={"code": (PYTHON_EXAMPLES.name,)})}
    )
    return await check_runs(without_verdicts(runs), {item.id: item for item in items}, one_suffices, _AT_ONCE)


def _lines(found: Sequence[Confident]) -> Iterator[str]:
    for each in found:
        mean, low, high = each.difference
        yield (
            f"entropy <= {each.entropy:.3f}: {each.used} used, {each.right} right, "
            f"{mean:+.1f} [{low:.1f}, {high:.1f}] points at {each.full:.0f} % full, {each.usd:.0f} % USD"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--collected", type=Path, required=True)
    parser.add_argument("--profile", type=Path, required=True, help="folder of the profile")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    profile = load_profile(given.profile.name, (given.profile.parent,))
    origin, runs = read(given.collected)
    checked = asyncio.run(_checked(runs, load(given.data).items, profile))
    table, plan = make_table(checked, len(profile.stages)), make_plan(profile, "code")
    passed = table.slm.passed[:, 0]
    quality = auroc(-table.answer_features[passed, _ENTROPY].astype(float), table.slm.right[passed, 0])
    found = confident(table, plan)
    print("\n".join(_lines(found)))
    print(f"AUROC of the entropy among {passed.sum()} passing answers: {quality:.2f}")
    result = {
        "command": f"python -m lab.training.confidence {given.data} --collected {given.collected} --profile {given.profile}",
        "dataset_sha256": origin.dataset_sha256,
        "auroc": quality,
        "rules": [asdict(each) for each in found],
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
