"""What a method's course costs, in every unit: by the functions that make the bill (tandem.method.cost.cost)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lab.training.table import Bools, Floats, Rows, Table
from tandem.method.cost import cost
from tandem.method.profile.prices import Prices, RolePrices, RoleRates
from tandem.method.request.plan import Plan
from tandem.method.request.result import Usage
from tandem.method.roles import BILL_ROLES
from tandem.method.tokens import TokenCounts

LLM = -1  # the "stage" of an answer that the large model finished

Stages = NDArray[np.intp]
_KINDS = "prompt", "cached", "completion", "overrun", "discarded"


@dataclass(frozen=True)
class Course:
    """Arrays over n questions. `stage` is the stage of the answer, LLM for the large model's own; counts hold
    float64[n].

    `read` counts the large model's tokens that the small one read. `check_seconds` is the checks' processor time;
    `overlap_seconds` the time in which both models worked, which counts once for the latency.
    """

    right: Bools
    truncated: Bools
    stage: Stages
    llm: TokenCounts
    slm: TokenCounts
    scorer: TokenCounts
    read: Floats
    check_seconds: Floats
    overlap_seconds: Floats
    further: Mapping[str, TokenCounts] = field(default_factory=dict)  # of further small models, by role

    @property
    def usage(self) -> Usage:
        return {"llm": self.llm, "slm": self.slm, "scorer": self.scorer, **self.further}

    def with_slm(self, more: TokenCounts, check_seconds: Floats) -> Course:
        """After work of the small model that led to none of these answers."""
        return replace(self, slm=self.slm + more, check_seconds=self.check_seconds + check_seconds)


def course(
    right: Bools, truncated: Bools, stage: Stages, llm: TokenCounts | None = None, slm: TokenCounts | None = None,
    scorer: TokenCounts | None = None, read: Floats | float = 0.0,
) -> Course:  # fmt: skip
    """Counts may hold scalars, which are the same for every question."""
    n = len(right)
    return Course(
        right=right.astype(bool),
        truncated=truncated.astype(bool),
        stage=stage,
        llm=_spread(llm or TokenCounts(), n),
        slm=_spread(slm or TokenCounts(), n),
        scorer=_spread(scorer or TokenCounts(), n),
        read=spread(read, n),
        check_seconds=np.zeros(n),
        overlap_seconds=np.zeros(n),
    )


def where(mask: Bools, a: Course, b: Course) -> Course:
    """`a` on the questions of the mask, `b` on the others."""
    return Course(*(_choose(mask, getattr(a, f.name), getattr(b, f.name)) for f in fields(Course)))


def counts_where(mask: Bools, a: TokenCounts, b: TokenCounts | None = None) -> TokenCounts:
    """`a` on the questions of the mask, elsewhere `b`, or nothing."""
    return cast(TokenCounts, _choose(mask, a, b or TokenCounts()))


def tokens(
    prompt: Floats | float = 0.0, completion: Floats | float = 0.0, overrun: Floats | float = 0.0
) -> TokenCounts:
    """Counts that hold arrays."""
    return TokenCounts(prompt=cast(Any, prompt), completion=cast(Any, completion), overrun=cast(Any, overrun))


def everywhere(table: Table, stage: int) -> Stages:
    return np.full(len(table.questions), stage, np.intp)


def spread(value: object, n: int) -> Floats:
    """float64[n], also from a scalar."""
    return np.broadcast_to(np.asarray(value, np.float64), (n,)).copy()


def _spread(counts: TokenCounts, n: int) -> TokenCounts:
    return TokenCounts(*(cast(Any, spread(getattr(counts, kind), n)) for kind in _KINDS))


def _choose(mask: Bools, a: Any, b: Any) -> Any:
    if isinstance(a, Mapping):
        return {role: counts_where(mask, a.get(role) or TokenCounts(), b.get(role)) for role in {**a, **b}}
    if isinstance(a, TokenCounts):
        return TokenCounts(*(np.where(mask, getattr(a, kind), getattr(b, kind)) for kind in _KINDS))
    return np.where(mask, a, b)


# USD per million tokens, in the proportions of two kinds of pairs that are on the market; illustrative.
def _list(version: str, large: RolePrices, small: RolePrices) -> Prices:
    return Prices(version, {**dict.fromkeys(BILL_ROLES, small), "llm": large})


PRICE_LISTS = {
    "usd_8": _list("8:1", RolePrices(2, 0.2, 12), RolePrices(0.25, 0.025, 1.5)),
    "usd_37": _list("37:1", RolePrices(3, 0.3, 15), RolePrices(0.1, 0.025, 0.4)),
}


@dataclass(frozen=True)
class PricedCourse:
    """Arrays over the questions. `stage` is the stage of the answer, LLM for the large model's own; `slm_tokens` are of
    all small models.

    `paper` and `full` are TFLOPs (docs/method.md, Cost), `usd` is at the profile's prices and `usd_8` and `usd_37` at
    two illustrative lists. `seconds` are the devices' and the checks'; `latency` is the time to the whole answer, if
    each model has a device. Both are NaN where the profile has no measured rates of a model that was used.
    """

    right: Bools
    stage: Stages
    llm_tokens: Floats
    slm_tokens: Floats
    overrun_tokens: Floats
    truncated: Bools
    paper: Floats
    full: Floats
    usd: Floats
    usd_8: Floats
    usd_37: Floats
    seconds: Floats
    latency: Floats

    def take(self, rows: Rows) -> PricedCourse:
        return PricedCourse(*(getattr(self, field.name)[rows] for field in fields(self)))


def priced(plan: Plan, run: Course) -> PricedCourse:
    n, usage = len(run.right), {role: counts for role, counts in run.usage.items() if role in plan.models}
    llm_tokens, slm_tokens = run.llm.completion, run.slm.completion
    slm_parameters = cast(Any, np.where(cast(Any, slm_tokens) > 0, plan.slm.parameters, 0.0))
    paper = cost.tflops_paper(plan.llm.parameters, llm_tokens, slm_parameters, slm_tokens, cast(Any, run.read))
    for role, counts in run.further.items():
        paper = paper + cost.tflops_paper(0.0, 0.0, plan.models[role].parameters, counts.completion, 0.0)
        slm_tokens = slm_tokens + counts.completion
    writing = _seconds(plan, run, ("llm", "slm", *run.further))
    return PricedCourse(
        right=run.right,
        stage=run.stage,
        llm_tokens=spread(llm_tokens, n),
        slm_tokens=spread(slm_tokens, n),
        overrun_tokens=spread(run.llm.overrun, n),
        truncated=run.truncated,
        paper=spread(paper, n),
        full=spread(cost.tflops_full(plan, usage), n),
        usd=_usd(plan.prices, run),
        **{name: _usd(prices, run) for name, prices in PRICE_LISTS.items()},
        seconds=writing + _seconds(plan, run, ("scorer",)) + run.check_seconds,
        latency=writing - run.overlap_seconds + run.check_seconds,
    )


def role_seconds(rates: RoleRates, counts: TokenCounts) -> Floats:
    """float64[n]: device time of one role."""
    return cast(Floats, rates.seconds(counts.prompt, counts.cached, counts.generated))


def _usd(prices: Prices, run: Course) -> Floats:
    """NaN where a price is not known."""
    return sum(
        (_role_usd(prices.of(role), counts) for role, counts in run.usage.items()), start=np.zeros(len(run.right))
    )


def _role_usd(prices: RolePrices, counts: TokenCounts) -> Floats:
    return cast(Floats, prices.usd(counts)) if prices.is_known else _unless_used(counts)


def _seconds(plan: Plan, run: Course, roles: tuple[str, ...]) -> Floats:
    if plan.llm.rates is None:
        return np.full(len(run.right), np.nan)
    rates = {role: model.rates for role, model in plan.models.items()}
    each = ((rates.get(role), run.usage[role]) for role in roles)
    found = (role_seconds(rate, counts) if rate else _unless_used(counts) for rate, counts in each)
    return sum(found, start=np.zeros(len(run.right)))


def _unless_used(counts: TokenCounts) -> Floats:
    """0, and NaN where there are tokens of which nobody knows the cost."""
    return np.where(np.asarray(counts.read) + np.asarray(counts.generated) > 0, np.nan, 0.0)
