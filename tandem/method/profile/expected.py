"""How much the large model writes by itself, estimated by the length of what it reads; with a 95 % interval of one
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import correlation, fmean, pstdev

_NORMAL_95 = 1.96
_DIGITS = 3  # of a fitted figure: more would claim what some hundred answers do not tell


@dataclass(frozen=True)
class Expected:
    """Tokens. `low` and `high` are None where no interval is known."""

    tokens: float
    low: float | None = None
    high: float | None = None

    def at_most(self, limit: float) -> Expected:
        """The same answer, cut at `limit` tokens."""
        low, high = (None if bound is None else min(bound, limit) for bound in (self.low, self.high))
        return Expected(min(self.tokens, limit), low, high)


@dataclass(frozen=True)
class ByLength:
    """log(tokens of the answer) is normal about log(`tokens`) + `slope` * log(prompt tokens / `prompt`) with the
    standard deviation `spread`: least squares over `n` answers, whose log(prompt tokens) have the standard deviation
    `width`.
    """

    n: int
    prompt: float
    tokens: float
    slope: float
    spread: float
    width: float

    def expected(self, prompt_tokens: int) -> Expected:
        """Of a prompt. Far from the prompts that were measured the interval is wider."""
        away = log(max(prompt_tokens, 1) / self.prompt)
        middle = log(self.tokens) + self.slope * away
        reach = _NORMAL_95 * self.spread * sqrt(1 + 1 / self.n + away**2 / (self.n * self.width**2))
        return Expected(exp(middle + self.spread**2 / 2), exp(middle - reach), exp(middle + reach))


def fitted(prompts: Sequence[float], tokens: Sequence[float]) -> ByLength:
    """By tokens of prompts and answers, at least three, of at least two lengths. Raises ValueError where there are
    fewer.
    """
    x, y = [log(each) for each in prompts], [log(max(each, 1)) for each in tokens]
    n = len(x)
    if n < 3 or len(set(x)) < 2:
        raise ValueError("answers to prompts of several lengths are needed")
    width, height = pstdev(x), pstdev(y)
    explained = correlation(x, y) if height else 0.0
    spread = height * sqrt((1 - explained**2) * n / (n - 2))
    figures = exp(fmean(x)), exp(fmean(y)), explained * height / width, spread, width
    return ByLength(n, *(float(f"{figure:.{_DIGITS}g}") for figure in figures))
