"""Metrics by tenant. A caller without keys names its tenant itself, so there is an end to the names that become
series.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Counter, Gauge

MOST_NAMES = 100
OTHERS = "(others)"
"""The label of all tenants after the first MOST_NAMES of a process."""

LIMIT_USED = Gauge(
    "tandem_tenant_limit_used_ratio", "Used share of a tenant's limit, with what is held.", ["tenant", "limit"]
)
COST = Counter(
    "tandem_tenant_cost_usd",
    "Cost of requests by tenant; of those after the first 100 in a process together.",
    ["tenant"],
)
_named: set[str] = set()


def count_cost(tenant: str, usd: float | None) -> None:
    """Count what a request of the tenant cost; None, where a price is not known, is counted by tandem_unpriced_requests
    alone.
    """
    if usd is None:
        return
    if len(_named) < MOST_NAMES:
        _named.add(tenant)
    COST.labels(tenant if tenant in _named else OTHERS).inc(usd)


def export_used_limits(used: Mapping[tuple[str, str], float]) -> None:
    """Used share by tenant and limit; those that are not named are exported no longer."""
    LIMIT_USED.clear()
    for (tenant, limit), share in used.items():
        LIMIT_USED.labels(tenant, limit).set(share)
