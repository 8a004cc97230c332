"""Who calls. The tenant comes from the credential, and a request's id counts within its tenant only.

Internally a request of tenant `acme` has the id `acme/ID`, so another tenant's `ID` is another request: it does not
exist for `acme`, and no answer and no time tells it from one that nobody has used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from tandem.access.keys import TENANT
from tandem.method.errors import NotFound, PermissionDenied

ADMIN = "admin"
_SEPARATOR = "/"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Caller:
    """`tenant` and `roles` are the credential's. An anonymous caller, where the gateway asks for no credential, sees
    everything and names the tenant itself. An admin may act for other tenants, whose ids it writes `TENANT/ID`.
    """

    tenant: str = ""
    roles: frozenset[str] = frozenset()
    is_anonymous: bool = False

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles

    @property
    def sees_all(self) -> bool:
        return self.is_anonymous or self.is_admin

    def tenant_of(self, requested: str) -> str:
        """Whom a request is for. Raises PermissionDenied where that is not for this caller to say."""
        if self.sees_all:
            return requested or self.tenant
        if requested not in ("", self.tenant):
            raise PermissionDenied(
                f"this credential is tenant {self.tenant!r}'s: leave the tenant out, or use one with the role {ADMIN}",
                reason="OTHER_TENANT",
            )
        return self.tenant

    def internal_id(self, request_id: str, tenant: str = "") -> str:
        """The id of the request within the system; `tenant` is whom it is for, where that is known."""
        if self.is_anonymous or (self.is_admin and _SEPARATOR in request_id):
            return request_id
        return f"{tenant or self.tenant}{_SEPARATOR}{request_id}"

    def public_id(self, internal_id: str) -> str:
        """Return the id by which this caller knows the request."""
        return internal_id if self.is_anonymous else internal_id.removeprefix(f"{self.tenant}{_SEPARATOR}")


ANONYMOUS = Caller(is_anonymous=True)
_current: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Return the caller of the call that is being served. Raises LookupError where no check of callers has run, so
    that none is forgotten.
    """
    return _current.get()


def set_caller(caller: Caller) -> None:
    _current.set(caller)


@dataclass(frozen=True, slots=True)
class Owned:
    """A file or a batch: `id` within `tenant`, which is empty where callers have none."""

    tenant: str
    id: str

    @property
    def internal_id(self) -> str:
        return f"{self.tenant}/{self.id}" if self.tenant else self.id


def owned(caller: Caller, given: str, what: str) -> Owned:
    """Return what the caller means; another tenant's is unknown, as is one that nobody has used. Raises NotFound for
    what cannot be an id of a `what`.
    """
    tenant, _, own = caller.internal_id(given).rpartition("/")
    if not ID.fullmatch(own) or (tenant and not TENANT.fullmatch(tenant)):
        raise NotFound(f"there is no {what} {given!r}", reason=f"UNKNOWN_{what.upper()}")
    return Owned(tenant, own)


def credential_of(headers: Mapping[str, str]) -> str:
    """Return the credential of an HTTP request: an Authorization header's, else that of `x-api-key`, which
    Anthropic's clients send.
    """
    return bearer(headers.get("authorization", "")) or headers.get("x-api-key", "").strip()


def bearer(authorization: str) -> str:
    """Return the credential of an Authorization header, not judged yet; empty where there is none."""
    scheme, _, credential = authorization.strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""
