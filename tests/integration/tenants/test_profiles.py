"""A tenant is told of the profiles that it may use."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from services.gateway.admission import Admission
from services.gateway.readers import Limits
from services.gateway.service import TandemService
from services.shared.identity.caller import ADMIN, Caller, set_caller
from tandem.method.profile.profile import load_profile
from tandem.paths import DEFAULT_PROFILE, profile_folders
from tandem.v1 import tandem_pb2
from tests.integration.tenants.limiting import Limited

pytestmark = pytest.mark.asyncio(loop_scope="session")
SERVED = (DEFAULT_PROFILE, "deepseek-r1-32b-7b")


async def listed(limited: Limited, caller: Caller) -> tuple[list[str], str]:
    """Names of the profiles that a gateway with two lists for a caller, and the default."""
    profiles = {name: load_profile(name, tuple(profile_folders())) for name in SERVED}
    admission = Admission(profiles, DEFAULT_PROFILE, dict.fromkeys(SERVED, len))
    system = limited.system
    service = TandemService(admission, system.workflows, system.log, Limits(1, timedelta()), system.tenancy)
    set_caller(caller)
    reply = await service.ListProfiles(tandem_pb2.ListProfilesRequest(), cast(Any, None))
    return [profile.name for profile in reply.profiles], reply.default_profile


async def test_a_tenant_with_a_list_sees_its_profiles_alone(limited: Limited) -> None:
    tenant = limited.tenant(profiles=[SERVED[1]])
    assert await listed(limited, Caller(tenant)) == ([SERVED[1]], "")
    assert await listed(limited, Caller(limited.tenant(profiles=[DEFAULT_PROFILE]))) == (
        [DEFAULT_PROFILE],
        DEFAULT_PROFILE,
    )


async def test_a_tenant_without_a_list_and_an_admin_see_all(limited: Limited) -> None:
    tenant = limited.tenant(profiles=[SERVED[1]])
    for caller in (Caller(limited.tenant()), Caller(tenant, frozenset({ADMIN}))):
        assert await listed(limited, caller) == (list(SERVED), DEFAULT_PROFILE)
