"""Questions that both models answered: the figures of a pair are measured on them, and resampled for intervals."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from scipy.special import ndtri

from lab.training.metrics import auroc
from lab.training.table import Bools, Floats, Rows, Table
from services.sufficiency_scorer.scorer_inputs import NAMES
from tandem.method.profile.prices import Prices, RolePrices
from tandem.method.tokens import TokenCounts
from tandem.planning.payoff import CheckFigures, Label, Pair, Score, StageFigures, correlation_of

_ENTROPY = NAMES.index("entropy_mean")


@dataclass(frozen=True)
class PairSample:
    """n questions, K stages. `small` bool[n, K + 1] and `large` bool[n]: right. `score` of the small model's answer and
    `question_score` of the bare question, float64[n]: higher says that the small model is right. `has_check`, `passed`
    bool[n].

    Costs in any one unit: `large_cost` float64[n] of the large model's answer, `insight_cost` float64[n, K + 1] of its
    text up to each stage, `answer_cost` float64[n, K + 1] of the small model's answers, `scoring_cost` float64[n] of a
    scoring pass.
    """

    small: Bools
    large: Bools
    score: Floats
    question_score: Floats
    has_check: Bools
    passed: Bools
    large_cost: Floats
    insight_cost: Floats
    answer_cost: Floats
    scoring_cost: Floats

    def __len__(self) -> int:
        return len(self.large)

    def take(self, rows: Rows) -> PairSample:
        return PairSample(*(getattr(self, field.name)[rows] for field in fields(self)))

    def measured(self, label: Label = "right") -> Pair:
        """Its figures, with scores that predict `label`. A score worse than chance counts as none; no accuracy is 0 or
        1.
        """
        first, unit = self.small[:, 0], float(self.large_cost.mean())
        small, large = _share(first), _share(self.large)
        insight, answer = self.insight_cost.mean(axis=0) / unit, self.answer_cost.mean(axis=0) / unit
        return Pair(
            small=small,
            large=large,
            answer=float(answer[0]),
            correlation=correlation_of(small, large, float((first & self.large).mean())),
            score=self._quality(self.score, label),
            early=self._quality(self.question_score, label),
            check=self._check(),
            scoring=float(self.scoring_cost.mean() / unit),
            stages=tuple(
                StageFigures(float(insight[k]), _share(self.small[:, k]), float(answer[k]))
                for k in range(1, self.small.shape[1])
            ),
        )

    def _quality(self, score: Floats, label: Label) -> Score:
        small, large = self.small[:, 0], self.large
        if label == "nothing_lost":
            return Score(max(0.5, auroc(score, small | ~large) or 0.5), label=label)
        return Score(max(0.5, _auroc_within(score, small, large)), _auroc_within(score, large, small))

    def _check(self) -> CheckFigures:
        passed, right = self.passed[self.has_check], self.small[:, 0][self.has_check]
        if not len(right):
            return CheckFigures()
        known, share = CheckFigures(), _share(self.has_check)
        return CheckFigures(
            share,
            _share(passed[right]) if right.any() else known.pass_right,
            _share(passed[~right]) if not right.all() else known.pass_wrong,
        )


def of_table(table: Table, prices: Prices) -> PairSample:
    """The scores are minus the small model's mean entropy, over its answer and over the question: nothing is fitted, so
    50 questions suffice. Where the large model ended before a stage, its own answer counts there. Verdicts are the
    file's own.
    """
    exists, alone = table.slm.exists, _usd(prices.of("llm"), table.llm.prompt, table.llm.tokens)
    reached = np.where(exists, table.insight, table.llm.tokens[:, None])
    insight = _usd(prices.of("llm"), table.llm.prompt[:, None], reached)
    insight[:, 0] = 0.0
    return PairSample(
        small=np.where(exists, table.slm.right, table.llm.right[:, None]),
        large=table.llm.right,
        score=-table.answer_features[:, _ENTROPY].astype(float),
        question_score=-table.features[:, 0, _ENTROPY].astype(float),
        has_check=table.is_checked,
        passed=table.slm.passed[:, 0],
        large_cost=alone,
        insight_cost=insight,
        answer_cost=np.where(exists, _usd(prices.of("slm"), table.slm.prompt, table.slm.tokens), 0.0),
        scoring_cost=_usd(prices.of("scorer"), table.slm.prompt[:, 0], np.zeros(len(table.questions))),
    )


def drawn(pair: Pair, n: int, generator: np.random.Generator) -> PairSample:
    """A sample of n questions for which the figures of `pair` are true."""
    level, noise = generator.normal(size=(2, n))
    accuracies = np.array([pair.small, *(stage.right for stage in pair.stages)])
    small = level[:, None] <= ndtri(accuracies)
    other = pair.correlation * level + np.sqrt(1 - pair.correlation**2) * noise
    large = other <= ndtri(pair.large)
    has_check = generator.random(n) < pair.check.share
    passes = np.where(small[:, 0], pair.check.pass_right, pair.check.pass_wrong)
    ones = np.ones(n)
    return PairSample(
        small=small,
        large=large,
        score=_means(pair.score, small[:, 0], large) + generator.normal(size=n),
        question_score=_means(pair.early, small[:, 0], large) + generator.normal(size=n),
        has_check=has_check,
        passed=has_check & (generator.random(n) < passes),
        large_cost=ones,
        insight_cost=np.outer(ones, [0.0, *(stage.insight for stage in pair.stages)]),
        answer_cost=np.outer(ones, [pair.answer, *(stage.answer for stage in pair.stages)]),
        scoring_cost=pair.scoring * ones,
    )


def _means(score: Score, small: Bools, large: Bools) -> Floats:
    by_rightness = np.array(
        [[score.mean(is_small, is_large) for is_large in (False, True)] for is_small in (False, True)]
    )
    found: Floats = by_rightness[small.astype(int), large.astype(int)]
    return found


def _usd(prices: RolePrices, prompt: Floats, generated: Floats) -> Floats:
    found: Floats = np.asarray(prices.usd(TokenCounts(prompt=cast(Any, prompt), completion=cast(Any, generated))))
    return found


def _share(right: Bools) -> float:
    """Half an answer away from 0 and 1: no finite sample shows that a model is always right."""
    return float(np.clip(right.mean(), 0.5 / len(right), 1 - 0.5 / len(right)))


def _auroc_within(score: Floats, event: Bools, stratum: Bools) -> float:
    """AUROC for `event` over pairs of questions for which `stratum` is the same; 0.5 without such pairs."""
    ordered, pairs = 0.0, 0
    for rows in (stratum, ~stratum):
        found, count = auroc(score[rows], event[rows]), int(event[rows].sum() * (~event[rows]).sum())
        ordered, pairs = ordered + (found or 0.0) * count, pairs + count
    return ordered / pairs if pairs else 0.5
