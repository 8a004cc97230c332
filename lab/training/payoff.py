"""Does a pair pay: the least expected cost at the large model's accuracy, from a few figures of the pair.

Whether the two models are right is a bivariate normal distribution, cut at their accuracies; a score of the small
model's answer is binormal, and knows nothing of the large model. Costs are shares of the cost of the large model's own
answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.stats import multivariate_normal, norm

CORRELATION = 0.6
"""Of the latent variables behind the rightness of the two models."""
PASS_RIGHT, PASS_WRONG = 0.97, 0.06
"""Shares of right and of wrong answers that pass a check: those of the shipped pair with the examples of HumanEval."""
_REACH = 8.0  # of a normal distribution: beyond it nothing is left
_THRESHOLDS = 2001
_LARGEST_DISTANCE = 40.0  # between the scores of right and wrong answers: no score is between them


@dataclass(frozen=True)
class Pair:
    """Shares of 1: `small` and `large` are how often each model is right, and `checked` is how many tasks have a check.

    `answer` is the cost of the small model's answer. `auroc` is that of a score of it for being right; 0.5: no score.
    """

    small: float
    large: float
    answer: float
    auroc: float = 0.5
    checked: float = 0.0

    @property
    def both(self) -> float:
        """Share of the questions that both models answer right."""
        cuts = norm.ppf([self.small, self.large])
        return float(multivariate_normal.cdf(cuts, cov=[[1, CORRELATION], [CORRELATION, 1]]))


def least_cost(pair: Pair) -> float:
    """Returns the least cost, 0..1, of the policies that are as accurate as the large model alone, which costs 1.

    A policy lets the small model's answer stand above a threshold of the score, or where it passes a check. A random
    share of the questions may go by another policy, so the cheapest mixture is a linear program.
    """
    distance = min(_LARGEST_DISTANCE, np.sqrt(2) * norm.ppf(pair.auroc))
    thresholds = np.linspace(-_REACH, distance + _REACH, _THRESHOLDS)
    right_stands = np.append(norm.cdf(distance - thresholds), PASS_RIGHT)
    wrong_stands = np.append(norm.cdf(-thresholds), PASS_WRONG)
    gain = right_stands * (pair.small - pair.both) - wrong_stands * (pair.large - pair.both)
    cost = pair.answer + 1 - right_stands * pair.small - wrong_stands * (1 - pair.small)
    most = [1.0] * _THRESHOLDS + [pair.checked, 1.0]  # the last policy is the large model alone
    found = linprog(
        np.append(cost, 1.0),
        A_ub=[-np.append(gain, 0.0)],
        b_ub=[0.0],
        A_eq=np.ones((1, len(most))),
        b_eq=[1.0],
        bounds=[(0.0, share) for share in most],
    )
    return float(found.fun)
