"""Scorers of the order of the tokens: their statistics, and what the recurrent network learns."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("torch")
pytest.importorskip("pyarrow")

from lab.paper.passes import Passes
from lab.paper.sequences import OF_PASSES, OF_TOKENS, of_statistics, of_tokens, statistics
from lab.training.estimators import Examples
from lab.training.metrics import quality
from services.sufficiency_scorer.scorer_inputs import ScorerInputsBatch


def test_the_statistics_tell_a_rise_from_a_fall() -> None:
    up, down = np.arange(8.0), np.arange(8.0)[::-1]
    mean, spread, largest, smallest, slope, rises, falls, *quarters = statistics(np.column_stack([-up, down]))[:11]
    assert (mean, largest, smallest, rises, falls) == (3.5, 7, 0, 1, 0)
    assert spread == pytest.approx(up.std())
    assert slope > 0
    assert quarters == [0.5, 2.5, 4.5, 6.5]
    of_entropy = statistics(np.column_stack([-up, down]))[11:22]
    assert of_entropy[4] == pytest.approx(-slope)
    assert (of_entropy[5], of_entropy[6]) == (0, 1)
    assert statistics(np.column_stack([-up, down]))[22] == 8


def test_one_token_has_statistics() -> None:
    found = statistics(np.array([[-1.0, 2.0]], np.float32))
    assert len(found) == 23
    assert np.isfinite(found).all()


def _examples(seed: int) -> tuple[Examples, Passes]:
    """Those whose entropy falls are right."""
    rng, n = np.random.default_rng(seed), 240
    lengths, targets = rng.integers(10, 40, n), rng.random(n) < 0.5
    values = np.full((n, 40, 2), np.nan, np.float32)
    for row, length in enumerate(lengths):
        line = np.linspace(2, 0, length) if targets[row] else np.linspace(0, 2, length)
        values[row, :length] = np.column_stack([-rng.random(length), line + rng.normal(0, 0.5, length)])
    empty = np.zeros((n, 0), np.float32)
    batch = ScorerInputsBatch(np.zeros(n, np.int64), lengths.astype(np.float32), empty, empty, empty)
    return Examples(batch, targets, np.arange(n), 1), Passes(values)


@pytest.mark.parametrize("name", [*OF_PASSES])
def test_each_learns_the_order_of_the_tokens(name: str) -> None:
    read = of_tokens if name in OF_TOKENS else of_statistics
    learned, asked = read(*_examples(0)), read(*_examples(1))
    logits = OF_PASSES[name](learned, 0).logits(asked.batch)
    auroc = quality(1 / (1 + np.exp(-logits)), asked.targets).auroc
    assert auroc is not None
    assert auroc > 0.9
