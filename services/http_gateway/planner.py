"""The page's planner: would a pair pay? The functions of `tandem plan`, asked by HTTP, for pairs without stages."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from services.http_gateway.page import Caller
from tandem.planning.levers import effects
from tandem.planning.payoff import CheckFigures, Pair, Score, bounds, check_all, correlation_of, least, payoff

_RATIOS = tuple(10 ** (index / 8) for index in range(17))
_AUROCS = tuple(0.5 + index / 20 for index in range(11))
_MAPS = 256  # some 20 KB each; a slider that goes back and forth asks for the same ones
Share = Annotated[float, Field(ge=0.01, le=0.99)]

router = APIRouter(prefix="/api/plan", include_in_schema=False)


class Figures(BaseModel):
    """What the map is drawn for. `both`: share of the questions that both answer right, cut to what the accuracies
    allow; `check`:
    share of the tasks that have a check.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    small: Share
    large: Share
    both: float = Field(ge=0, le=1)
    check: float = Field(ge=0, le=1)

    def pair(self, ratio: float, auroc: float) -> Pair:
        low, high = bounds(self.small, self.large)
        correlation = correlation_of(self.small, self.large, min(high, max(low, self.both)))
        check = CheckFigures(self.check)
        return Pair(self.small, self.large, 1 / ratio, correlation, score=Score(auroc), check=check)


class Place(Figures):
    """And where on it the pair stands: `ratio` of the prices of a token, `auroc` of a score of the small model's
    answer.
    """

    ratio: float = Field(ge=1, le=1000)
    auroc: float = Field(ge=0.5, le=1)


@router.get("")
async def plan(client: Caller, asked: Annotated[Place, Query()]) -> dict[str, Any]:
    """Costs and savings are shares of the cost of the large model's own answer."""
    await client.profiles()  # refuses who may not ask
    return await asyncio.to_thread(_answer, asked.pair(asked.ratio, asked.auroc))


@router.get("/map")
async def plan_map(client: Caller, asked: Annotated[Figures, Query()]) -> dict[str, Any]:
    """Expected savings, one row for each AUROC, one column for each ratio of prices."""
    await client.profiles()
    return {"ratios": _RATIOS, "aurocs": _AUROCS, "savings": await asyncio.to_thread(_savings, asked)}


def _answer(pair: Pair) -> dict[str, Any]:
    found = payoff(pair)
    cost = min(point.cost for point in found.values())
    del found["router"]  # nothing is known before the answer: it is the large model alone
    if pair.check.share:
        found["check_all"] = check_all(pair)
    return {
        "policies": {name: asdict(point) for name, point in found.items()},
        "saving": 1 - cost,
        "effects": [asdict(effect) for effect in effects(pair)],
    }


@lru_cache(_MAPS)
def _savings(asked: Figures) -> list[list[float]]:
    base = asked.pair(1, 0.5)
    return [
        [round(1 - least(replace(base, answer=1 / ratio, score=Score(auroc))), 4) for ratio in _RATIOS]
        for auroc in _AUROCS
    ]
