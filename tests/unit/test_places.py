"""The gateway's places: no tenant takes those that others need."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import Any, cast

import pytest

from services.gateway.readers import Limits, Readers
from tandem.method.errors import ResourceExhausted


def _readers(places: int) -> Readers:
    nothing = cast(Any, None)
    return Readers(nothing, nothing, Limits(places, timedelta(0)))


def _taken_by(readers: Readers, tenant: str, stack: ExitStack, *, shares: bool = True) -> int:
    """How many places the tenant gets."""
    number = 0
    while True:
        try:
            stack.enter_context(readers.admitted(tenant, shares=shares))
        except ResourceExhausted:
            return number
        number += 1


def test_a_tenant_that_takes_all_it_can_leaves_half_of_the_places() -> None:
    readers = _readers(16)
    with ExitStack() as stack:
        assert _taken_by(readers, "loud", stack) == 8
        assert _taken_by(readers, "quiet", stack) == 4
        assert _taken_by(readers, "third", stack) == 2
    with ExitStack() as stack:
        assert _taken_by(readers, "quiet", stack) == 8


def test_who_gets_no_place_is_told_when_to_ask_again() -> None:
    with pytest.raises(ResourceExhausted) as refused, _readers(0).admitted():
        pass
    assert (refused.value.reason, refused.value.retry_after_s) == ("TOO_MANY_REQUESTS", 2.0)


def test_where_nobody_has_limits_one_may_take_all_places() -> None:
    with ExitStack() as stack:
        assert _taken_by(_readers(16), "loud", stack, shares=False) == 16


@pytest.mark.parametrize("tenants", [2, 3, 5])
def test_tenants_that_ask_in_turns_get_alike(tenants: int) -> None:
    readers, taken = _readers(60), dict.fromkeys(range(tenants), 0)
    with ExitStack() as stack:
        for _ in range(60):
            for tenant in taken:
                try:
                    stack.enter_context(readers.admitted(str(tenant), shares=True))
                    taken[tenant] += 1
                except ResourceExhausted:
                    pass
    assert max(taken.values()) - min(taken.values()) <= 1
    assert min(taken.values()) >= 60 // (tenants + 1)
