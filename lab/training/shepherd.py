"""LLM Shepherding (Dong et al., arXiv 2601.22132): how much the large model writes is predicted before it writes a
token.

As its abstract describes it: a predictor in two stages says from the question whether a hint is needed, and how many
tokens; the large model writes so many, and the small one answers from them. Reactive: the small model answers first,
and a hint is asked for where that answer is not trusted. Not stated there and chosen here: the predictor reads the
question's words and costs nothing; hints are those that were collected, so a predicted length is rounded up to the next
stage, and beyond the last the large model answers; a question that neither model answers needs no hint; thresholds are
found for the objective of all methods, out of fold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import expit
from sklearn.linear_model import RidgeCV

from lab.training.estimators import Examples, fit_linear
from lab.training.policy import Measure, Objective, Point, Policy
from lab.training.pricing import LLM, PricedCourse, counts_where, priced, tokens
from lab.training.rule import Path as Way
from lab.training.rule import follow, reached
from lab.training.table import Floats, Table
from services.sufficiency_scorer.network import Shape, SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import ScorerInputsBatch
from tandem.method.request.plan import Plan
from tandem.method.rule.stop_rule import is_sufficient

_PENALTIES = np.logspace(0, 4, 9)
_NEEDED = np.round(np.arange(0.0, 1.01, 0.05), 2).tolist()
_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
_TRUSTED = np.round(np.arange(0.1, 1.01, 0.05), 2).tolist()
_SHAPE = Shape(("words",), 1)


@dataclass(frozen=True)
class Hints:
    """Of n questions: the probability that a hint is needed, and its length in tokens if so. float64[n] each."""

    needed: Floats
    tokens: Floats


@dataclass(frozen=True)
class HintPredictor:
    """Two linear models of the question's words: the logit that a hint is needed, and the logarithm of its tokens."""

    need: SufficiencyNetwork
    size: SufficiencyNetwork

    @classmethod
    def fit(cls, table: Table, seed: int) -> HintPredictor:
        shortest = shortest_hint(table)
        rows = shortest > 0
        if rows.all() or not rows.any():  # nothing to tell apart
            blank = SufficiencyNetwork.blank(_SHAPE)
            size = float(np.log(shortest[rows].mean())) if rows.any() else 0.0
            certain = blank.having({"layers.0.bias": np.array([10.0 if rows.all() else -10.0])})
            return cls(certain, blank.having({"layers.0.bias": np.array([size])}))
        need = fit_linear(("words",), Examples(_batch(table), rows, np.arange(len(rows)), 1), seed)
        columns = need.standardised(need.columns(_batch(table)))
        model = RidgeCV(alphas=_PENALTIES).fit(columns[rows], np.log(shortest[rows]))
        weights = {"layers.0.weight": model.coef_[None], "layers.0.bias": np.array([model.intercept_])}
        return cls(need, need.having(weights))

    def predict(self, table: Table) -> Hints:
        batch = _batch(table)
        return Hints(expit(self.need.logits(batch)), np.exp(self.size.logits(batch)))

    def save(self, file: Path) -> None:
        parts = {"need": self.need, "size": self.size}
        save_file({f"{part}.{name}": array for part, net in parts.items() for name, array in net.arrays.items()}, file)

    @classmethod
    def load(cls, file: Path) -> HintPredictor:
        """Raises OSError."""
        if not file.is_file():
            raise FileNotFoundError(file)
        arrays = load_file(file)
        return cls(*(SufficiencyNetwork(_SHAPE, _part(arrays, part)) for part in ("need", "size")))


@dataclass(frozen=True)
class Shepherd:
    """A hint of `factor` times the predicted tokens where the probability of its need reaches `needed`.

    Reactive with `trusted` < 1: instead where the score of the small model's own answer is below it.
    """

    needed: float
    factor: float
    trusted: float | None = None

    def run(self, table: Table, plan: Plan, hints: Hints, own: Floats) -> PricedCourse:
        """`own` float64[n]: scores of the small model's answers to the bare question, which only the reactive one
        reads.
        """
        if self.trusted is None:
            asked = hints.needed >= self.needed
            return priced(plan, follow(table, self._way(table, plan, hints, asked)))
        asked = ~cast(NDArray[np.bool_], is_sufficient(cast(Any, own), self.trusted))
        first = tokens(table.slm.prompt[:, 0], table.slm.tokens[:, 0])
        course = follow(table, self._way(table, plan, hints, asked))
        return priced(plan, course.with_slm(counts_where(asked, first), np.zeros(len(asked))))

    def _way(self, table: Table, plan: Plan, hints: Hints, asked: NDArray[np.bool_]) -> Way:
        lengths = [stage.max_tokens for stage in plan.stages]
        number = np.searchsorted(lengths, self.factor * hints.tokens) + 1  # of the stage; one more: beyond the last
        hinted = np.where(number > len(lengths), LLM, number)
        return Way(reached(table, np.where(asked, hinted, 0)), is_asked=True)


AS_PREDICTED = Shepherd(needed=0.5, factor=1.0)
"""Without thresholds of its own: what the predictor says."""


@dataclass(frozen=True)
class Found:
    predictor: HintPredictor
    proactive: Shepherd
    reactive: Shepherd


def shortest_hint(table: Table) -> Floats:
    """Tokens of the shortest collected hint from which the small model is right; the large model's whole answer where
    only that is right; 0 where none is needed or none helps. float64[n].
    """
    right = table.slm.right & table.slm.exists
    first = np.take_along_axis(table.insight, right.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(right.any(axis=1), first, np.where(table.llm.right, table.llm.tokens, 0.0))


def find(
    table: Table, plan: Plan, measure: Measure, objective: Objective, own: Floats, fold: NDArray[np.intp], seed: int
) -> Found:
    """By out-of-fold predictions; the returned predictor is fitted on all questions of `table`."""
    hints = out_of_fold(table, fold, seed)

    def best(candidates: Iterator[Shepherd]) -> Shepherd:
        points: list[tuple[Shepherd, Point]] = []
        for each in candidates:
            policy = Policy((each.needed, each.factor), llm_finishes=True)
            points.append((each, measure.point(policy, each.run(table, plan, hints, own))))
        chosen = objective.choose(point for _, point in points)
        return next(each for each, point in points if point is chosen)

    return Found(
        HintPredictor.fit(table, seed),
        best(Shepherd(needed, factor) for needed, factor in product(_NEEDED, _FACTORS)),
        best(Shepherd(0.0, factor, trusted) for trusted, factor in product(_TRUSTED, _FACTORS)),
    )


def out_of_fold(table: Table, fold: NDArray[np.intp], seed: int) -> Hints:
    needed, size = np.zeros(len(fold)), np.zeros(len(fold))
    for held_out in np.unique(fold):
        rows = fold == held_out
        found = HintPredictor.fit(table.take(~rows), seed).predict(table.take(rows))
        needed[rows], size[rows] = found.needed, found.tokens
    return Hints(needed, size)


def _batch(table: Table) -> ScorerInputsBatch:
    n = len(table.questions)
    return ScorerInputsBatch(
        np.zeros(n, np.int64), np.ones(n, np.float32), table.features[:, 0], table.states[:, 0], table.words
    )


def _part(arrays: dict[str, NDArray[np.float32]], part: str) -> dict[str, NDArray[np.float32]]:
    return {name.removeprefix(f"{part}."): array for name, array in arrays.items() if name.startswith(f"{part}.")}
