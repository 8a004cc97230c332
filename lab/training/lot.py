"""The row that any rule must beat: a lot between two models at the same price."""

from __future__ import annotations

from lab.training.table import Bools, Floats

Priced = tuple[Floats, Floats | Bools]
"""What a model costs in each task, and where it is right."""


def share_of_small(cost: float, of_small: float, of_large: float) -> float:
    """Of the tasks, 0..1, drawn by lot: both models' mean costs give `cost`, or what is nearest to it."""
    return max(0.0, min(1.0, (of_large - cost) / (of_large - of_small))) if of_large > of_small else 0.0


def lot_at(cost: float, small: Priced, large: Priced) -> float | None:
    """What a lot between two models gains on the large one at this mean cost, as a share; None where `cost` is above
    the large model's.
    """
    of_small, of_large = float(small[0].mean()), float(large[0].mean())
    if cost > of_large or of_small >= of_large:
        return None
    return share_of_small(cost, of_small, of_large) * float(small[1].mean() - large[1].mean())
