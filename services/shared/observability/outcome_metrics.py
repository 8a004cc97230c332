"""Metrics of what became of requests: shadows, outcomes, and policies that became stricter by them."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter

from tandem.method.profile.profile import Profile
from tandem.method.request.result import ShadowResult

SHADOW_PAID = Counter("tandem_shadow_paid_usd", "Cost of shadows, which no request's bill contains.", ["profile"])
SHADOW_ALONE = Counter(
    "tandem_shadow_llm_alone_usd", "Cost of the large model alone, measured by shadows.", ["profile"]
)
SHADOW_SERVED = Counter("tandem_shadow_served_usd", "Cost of the shadowed requests as they were served.", ["profile"])
SHADOW_ESTIMATE = Counter(
    "tandem_shadow_estimate_usd", "Estimated cost of the large model alone for the shadowed requests.", ["profile"]
)
SHADOW_REQUESTS = Counter(
    "tandem_shadow_requests", "Requests that the large model has also answered alone.", ["profile", "agrees"]
)
OUTCOMES = Counter(
    "tandem_outcomes", "Outcomes of requests, by what became of them.", ["profile", "task", "told_by", "counting"]
)
STRICTER = Counter(
    "tandem_policy_stricter",
    "Times that a policy became stricter, since outcomes showed that more was lost than promised.",
    ["profile", "task"],
)


def count_shadow(profile: str, result: ShadowResult) -> None:
    """Count a request that the large model has also answered alone."""
    SHADOW_REQUESTS.labels(profile, str(result.agrees).lower()).inc()
    for counter, usd in (
        (SHADOW_PAID, result.usd_paid),
        (SHADOW_ALONE, result.usd),
        (SHADOW_SERVED, result.usd_served),
        (SHADOW_ESTIMATE, result.usd_estimate),
    ):
        if usd is not None:
            counter.labels(profile).inc(usd)


def watch_promises(profiles: Iterable[Profile]) -> None:
    """Export each promise's policy from 0 on: `increase` does not see a series that begins at 1."""
    for profile in profiles:
        for promise in profile.promises:
            STRICTER.labels(profile.name, promise.task)


def count_outcome(profile: str, task: str, told_by: str, counting: str) -> None:
    """Count what became of an outcome; `stricter` where the policy has become so by it."""
    OUTCOMES.labels(profile, task, told_by, counting).inc()
    STRICTER.labels(profile, task).inc(counting == "stricter")
