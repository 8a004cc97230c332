"""Plans and usages by role, written shortly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tandem.method.profile.prices import RolePrices, RoleRates
from tandem.method.request.plan import Plan, PlannedModel
from tandem.method.request.result import Usage
from tandem.method.tokens import TokenCounts


def pair(llm: PlannedModel, slm: PlannedModel, scorer: RolePrices | None = None) -> dict[str, PlannedModel]:
    """The scorer is the small model, at prices of its own where they are given."""
    return {"llm": llm, "slm": slm, "scorer": replace(slm, prices=scorer or slm.prices)}


def used(
    llm: TokenCounts | None = None,
    slm: TokenCounts | None = None,
    scorer: TokenCounts | None = None,
    **more: TokenCounts,
) -> Usage:
    nothing = TokenCounts()
    return {"llm": llm or nothing, "slm": slm or nothing, "scorer": scorer or nothing, **more}


def changed(plan: Plan, role: str, **fields: object) -> Plan:
    """With these fields of one model."""
    return replace(plan, models={**plan.models, role: replace(plan.models[role], **fields)})  # type: ignore[arg-type]


def timed(plan: Plan, rates: Mapping[str, RoleRates | None]) -> Plan:
    for role, each in rates.items():
        plan = changed(plan, role, rates=each)
    return plan
