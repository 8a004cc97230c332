"""Headroom: the cost that a better scorer would reach, with simulated scores of the bare question of a given AUROC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from lab.training.outcomes import llm_alone, slm_alone
from lab.training.table import Bools, Floats, Table
from tandem.method.plan import Plan

AUROCS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_DRAWS = 200


@dataclass(frozen=True)
class Headroom:
    """`cost`: least `full` cost at the large model's accuracy, relative to the large model alone, mean over draws."""

    auroc: float
    cost: float


def headroom(table: Table, plan: Plan, seed: int = 0) -> list[Headroom]:
    """Each question is either stopped at stage 0 or answered by the large model; scores are free.

    The scores predict the label `nothing_lost`. The threshold is optimal for these same questions, so this is an upper
    bound on what a scorer of that AUROC would save.
    """
    alone, small = llm_alone(table, plan), slm_alone(table, plan)
    nothing_lost = table.targets("nothing_lost")[:, 0]
    generator = np.random.default_rng(seed)
    gain = small.right.astype(float) - alone.right
    saved = alone.full - small.full
    found = []
    for auroc in AUROCS:
        costs = [
            1 - _max_saved(_scores(nothing_lost, auroc, generator), gain, saved) / alone.full.sum()
            for _ in range(_DRAWS)
        ]
        found.append(Headroom(auroc, float(np.mean(costs))))
    return found


def _scores(target: Bools, auroc: float, generator: np.random.Generator) -> Floats:
    """Binormal model: two normal distributions of equal variance, whose distance gives the AUROC."""
    noise = generator.normal(size=len(target))
    return target + 1e-3 * noise if auroc == 1 else target * np.sqrt(2) * norm.ppf(auroc) + noise


def _max_saved(scores: Floats, gain: Floats, saved: Floats) -> float:
    """Saved cost if the questions with the highest scores are stopped, as many as lose no right answer in total."""
    order = np.argsort(-scores)
    is_lossless = np.cumsum(gain[order]) >= 0
    return float(max(0.0, np.max(np.cumsum(saved[order])[is_lossless], initial=0.0)))
