"""What a request is found by: numeric search attributes in Temporal, because Jaeger compares strings alone."""

from __future__ import annotations

from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes

from tandem.method.names import SEARCH_ATTRIBUTES
from tandem.method.request.job import Job
from tandem.method.request.result import SolveResult, StopReason

_COST = SearchAttributeKey.for_float(SEARCH_ATTRIBUTES["cost"])
_SAVED = SearchAttributeKey.for_float(SEARCH_ATTRIBUTES["saved"])
_STAGE = SearchAttributeKey.for_int(SEARCH_ATTRIBUTES["stage"])
_REASON = SearchAttributeKey.for_keyword(SEARCH_ATTRIBUTES["reason"])
_PROFILE = SearchAttributeKey.for_keyword(SEARCH_ATTRIBUTES["profile"])
_TENANT = SearchAttributeKey.for_keyword(SEARCH_ATTRIBUTES["tenant"])
Updates = list[SearchAttributeUpdate[float] | SearchAttributeUpdate[int] | SearchAttributeUpdate[str]]
KEYS: tuple[SearchAttributeKey[Any], ...] = (_COST, _SAVED, _STAGE, _REASON, _PROFILE, _TENANT)


def at_start(task: Job) -> TypedSearchAttributes:
    """Empty where the namespace does not have them."""
    return whose(task.plan.profile, task.request.tenant) if task.is_searchable else TypedSearchAttributes.empty


def whose(profile: str, tenant: str) -> TypedSearchAttributes:
    """Return those that are known before anything is asked."""
    pairs: list[SearchAttributePair[str]] = [SearchAttributePair(_PROFILE, profile)]
    if tenant:
        pairs.append(SearchAttributePair(_TENANT, tenant))
    return TypedSearchAttributes(pairs)


def at_end(result: SolveResult) -> Updates:
    return outcome(result.cost.usd, result.cost.saved_ratio, result.stop.stage, result.stop.reason)


def outcome(usd: float | None, saved: float | None, stage: int, reason: StopReason) -> Updates:
    return [
        _COST.value_unset() if usd is None else _COST.value_set(usd),
        _SAVED.value_unset() if saved is None else _SAVED.value_set(saved),
        _STAGE.value_set(stage),
        _REASON.value_set(str(reason)),
    ]
