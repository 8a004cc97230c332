"""What a scorer that tells more would bring: scores of the bare question of a chosen AUROC, made out of the truth and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from tandem.method.plan import Plan
from training.outcomes import llm_alone, slm_alone
from training.table import Bools, Floats, Table

AUROCS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_DRAWS = 200


@dataclass(frozen=True)
class Headroom:
    """`cost`: the least `full` cost at the large model's accuracy, a share of the large model's alone, mean of the draws."""

    auroc: float
    cost: float


def headroom(table: Table, plan: Plan, seed: int = 0) -> list[Headroom]:
    """A question is stopped before the large model begins, or answered by it; the score itself costs nothing.

    The score tells whether the small model is right or the large one is not: nothing is lost. The threshold is the best
    one for these very questions, so this is more than a scorer of that AUROC could be relied on for.
    """
    alone, small = llm_alone(table, plan), slm_alone(table, plan)
    nothing_lost = table.enough("nothing_lost")[:, 0]
    generator = np.random.default_rng(seed)
    gain = small.right.astype(float) - alone.right
    spared = alone.full - small.full
    found = []
    for auroc in AUROCS:
        costs = [
            1 - _most_spared(_scores(nothing_lost, auroc, generator), gain, spared) / alone.full.sum()
            for _ in range(_DRAWS)
        ]
        found.append(Headroom(auroc, float(np.mean(costs))))
    return found


def _scores(truth: Bools, auroc: float, generator: np.random.Generator) -> Floats:
    """Two normal distributions of one spread, as far apart as the AUROC asks (binormal model)."""
    noise = generator.normal(size=len(truth))
    return truth + 1e-3 * noise if auroc == 1 else truth * np.sqrt(2) * norm.ppf(auroc) + noise


def _most_spared(scores: Floats, gain: Floats, spared: Floats) -> float:
    """Stopping the best-scored questions, as many as cost no right answer in all."""
    order = np.argsort(-scores)
    kept = np.cumsum(gain[order]) >= 0
    return float(max(0.0, np.max(np.cumsum(spared[order])[kept], initial=0.0)))
