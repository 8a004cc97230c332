"""Whose cached prefixes a request may share."""

from __future__ import annotations

import pytest

from services.models.generation.role_generator import cache_use
from services.shared.identity.caller import ANONYMOUS, Caller
from tandem.method.names import batched_id, shadow_id
from tandem.method.request.request import SolveRequest

ACME = Caller("acme")


@pytest.mark.parametrize(
    ("request_id", "owner"),
    [
        (ACME.internal_id("1"), "acme"),
        (Caller("ops", frozenset({"admin"})).internal_id("1", "acme"), "acme"),
        (shadow_id(ACME.internal_id("1")), "acme"),
        (batched_id(ACME.internal_id("batch_1"), 7), "acme"),
        (ANONYMOUS.internal_id("1"), ""),
    ],
)
def test_a_prompt_belongs_to_the_tenant_of_its_request_and_all_anonymous_callers_are_one(
    request_id: str, owner: str
) -> None:
    assert cache_use(SolveRequest(request_id, "q", "profile")).owner == owner
