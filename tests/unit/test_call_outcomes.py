"""Who left, and who waited until its own deadline, which passes a moment before the one that the server was told."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from services.gateway.outcomes import Call
from services.shared.observability.availability import Outcome

pytestmark = pytest.mark.usefixtures("own_series")


@pytest.mark.parametrize(
    ("whole", "left", "outcome"),
    [
        (None, None, Outcome.LEFT),
        (600.0, 300.0, Outcome.LEFT),
        (2.0, 1.0, Outcome.LEFT),
        (2.0, 0.1, Outcome.FAILED),
        (600.0, 5.0, Outcome.FAILED),  # sent rounded up
        (2.0, 0.0, Outcome.FAILED),
    ],
)
def test_a_call_that_ends_a_moment_before_its_deadline_waited_until_then(
    whole: float | None, left: float | None, outcome: Outcome
) -> None:
    labels = {"profile": f"{whole} {left}", "outcome": str(outcome)}
    times = iter((whole, left))
    with Call(labels["profile"], lambda: next(times)):
        pass
    assert REGISTRY.get_sample_value("tandem_gateway_requests_total", labels) == 1
