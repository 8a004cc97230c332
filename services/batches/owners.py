"""Whose file or batch an id names. Another tenant's is unknown, as is one that nobody has used."""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.identity.caller import Caller
from tandem.keys import TENANT
from tandem.method.errors import NotFound

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Owned:
    """`id` within `tenant`, which is empty where callers have none."""

    tenant: str
    id: str

    @property
    def internal_id(self) -> str:
        return f"{self.tenant}/{self.id}" if self.tenant else self.id


def owned(caller: Caller, given: str, what: str) -> Owned:
    """What the caller means. Raises NotFound for what cannot be an id of a `what`."""
    tenant, _, own = caller.internal_id(given).rpartition("/")
    if not ID.fullmatch(own) or (tenant and not TENANT.fullmatch(tenant)):
        raise NotFound(f"there is no {what} {given!r}", reason=f"UNKNOWN_{what.upper()}")
    return Owned(tenant, own)
