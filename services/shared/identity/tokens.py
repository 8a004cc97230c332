"""Callers by OIDC token: a JWT (RFC 7519) whose signature, issuer, audience and times are checked (RFC 8725)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from services.shared.identity.caller import Caller
from services.shared.identity.issuer_keys import IssuerKeys, UnknownKey
from tandem.access.keys import ROLES, TENANT
from tandem.client.contract import readable
from tandem.method.errors import Unauthenticated

logger = logging.getLogger(__name__)

_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LEEWAY_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs tokens, and for whom. Without `jwks_url` the issuer's discovery document names it. A claim may be
    nested, as in `realm_access.roles`; `roles_claim` holds a list or words.
    """

    issuer: str
    audience: str
    jwks_url: str = ""
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"


class Tokens:
    def __init__(self, issuer: Issuer) -> None:
        self._issuer, self._keys = issuer, IssuerKeys(issuer.issuer, issuer.jwks_url)

    async def caller(self, token: str) -> Caller:
        """Raises Unauthenticated with the reason, and Unavailable where the issuer's keys cannot be had."""
        try:
            return self._caller_of(self._verified(token, await self._keys.key(_key_id(token))))
        except (jwt.PyJWTError, UnknownKey, _BadClaim) as error:
            raise _refusal(str(error)) from error
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise _refusal("it has a form that no issuer gives to tokens") from error

    def _verified(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any]:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=_ALGORITHMS,
            audience=self._issuer.audience,
            issuer=self._issuer.issuer,
            leeway=_LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )
        return claims

    def _caller_of(self, claims: Mapping[str, Any]) -> Caller:
        """Raises _BadClaim."""
        issuer = self._issuer
        tenant, roles = _claim(claims, issuer.tenant_claim), _claim(claims, issuer.roles_claim)
        if not isinstance(tenant, str) or not TENANT.fullmatch(tenant):
            raise _BadClaim(
                f"its claim {issuer.tenant_claim} names no tenant, which has 1 to 64 of the characters A-Z a-z 0-9 . "
                "_ -"
            )
        named = roles.split() if isinstance(roles, str) else [] if roles is None else roles
        if not isinstance(named, list) or not all(isinstance(role, str) for role in named):
            raise _BadClaim(f"its claim {issuer.roles_claim} is neither a list of words nor a text of words")
        return Caller(tenant, frozenset(named) & frozenset(ROLES))


class _BadClaim(Exception):
    """The message says which, and what it must be."""


def _key_id(token: str) -> str:
    """Return the id of the key by which the token is signed. Raises InvalidTokenError where it names none."""
    header = jwt.get_unverified_header(token)
    if header.get("alg") not in _ALGORITHMS:
        raise jwt.InvalidAlgorithmError("its algorithm is not one of an issuer's")
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise jwt.InvalidTokenError("it names no key (kid)")
    return key_id


def _refusal(why: str) -> Unauthenticated:
    logger.info("a token was refused: %s", readable(why))
    return Unauthenticated(f"this token is not valid here: {why}", reason="INVALID_CREDENTIAL")


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
