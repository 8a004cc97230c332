"""Metrics of promises that learn on live traffic: what was sampled, what that cost, and what was decided."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter

from tandem.method.profile.profile import Profile

SAMPLED = Counter(
    "tandem_promise_sampled", "Requests that all models have answered, counted for a promise.", ["profile", "kind"]
)
NOT_COUNTED = Counter(
    "tandem_promise_not_counted", "Sampled requests of which a model gave nothing to compare.", ["profile", "kind"]
)
DISPUTED = Counter(
    "tandem_promise_disputed",
    "Sampled requests of which some rule takes another answer than the large model's.",
    ["profile", "kind"],
)
PAID = Counter("tandem_promise_paid_usd", "Cost of what was asked only to learn, which no bill has.", ["profile"])
CHANGES = Counter(
    "tandem_promise_changes",
    "Decisions by kind of request: shown, serves, stops (does not pay), closed (the large model answers alone again).",
    ["profile", "kind", "what"],
)


def watch_promises(profiles: Iterable[Profile]) -> None:
    """Export each kind from 0 on: `increase` does not see a series that begins at 1."""
    for profile in profiles:
        if profile.promise.lose_at_most is not None:
            for kind in profile.learned:
                CHANGES.labels(profile.name, kind, "closed")


def count_sampled(profile: str, kind: str, usd: float, *, is_counted: bool, is_disputed: bool) -> None:
    """`usd`: what was paid beside the request."""
    (SAMPLED if is_counted else NOT_COUNTED).labels(profile, kind).inc()
    DISPUTED.labels(profile, kind).inc(is_counted and is_disputed)
    PAID.labels(profile).inc(usd)


def count_change(profile: str, kind: str, what: str) -> None:
    CHANGES.labels(profile, kind, what).inc()
