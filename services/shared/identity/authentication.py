"""One check of all callers, whatever door they come by: `Authorization: Bearer CREDENTIAL`, an API key or an OIDC
token.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.shared.identity.caller import ANONYMOUS, Caller, bearer, set_caller
from services.shared.identity.tokens import Issuer, Tokens
from tandem.access.keys import KeyFile, find_key
from tandem.access.watched_file import WatchedFile
from tandem.method.errors import Unauthenticated

_HTTP_URL_OR_EMPTY = r"^(https?://.+)?$"


@dataclass(frozen=True, slots=True)
class Authentication:
    """Who calls. With neither keys nor tokens, every caller is anonymous."""

    api_keys: ApiKeys | None = None
    tokens: Tokens | None = None

    @property
    def is_on(self) -> bool:
        return bool(self.api_keys or self.tokens)

    async def check(self, metadata: Mapping[str, str]) -> None:
        """Makes the sender of a call its current caller. Raises as `caller`."""
        set_caller(await self.caller(metadata.get("authorization", "")))

    async def caller(self, authorization: str) -> Caller:
        """Return who sent this header. Raises Unauthenticated, and Unavailable where a token cannot be checked now."""
        if not self.is_on:
            return ANONYMOUS
        credential = bearer(authorization)
        if not credential:
            raise Unauthenticated(
                "a credential is needed: send `Authorization: Bearer KEY`; `tandem` reads the key from TANDEM_API_KEY",
                reason="NO_CREDENTIAL",
            )
        found = await self._found(credential)
        if found is None:
            raise Unauthenticated("this credential is not valid here, or no longer", reason="INVALID_CREDENTIAL")
        return found

    async def _found(self, credential: str) -> Caller | None:
        """None for what is no key and no token. Raises as `caller`."""
        found = self.api_keys.caller(credential) if self.api_keys else None
        if found is None and self.tokens and credential.count(".") == 2:  # the form of a signed JWT
            found = await self.tokens.caller(credential)
        return found


class ApiKeys:
    """Raises KeyFileError where `path` holds no keys when the process starts."""

    def __init__(self, path: Path) -> None:
        self._keys = WatchedFile(path, KeyFile(path).read, "the API keys")

    def caller(self, credential: str) -> Caller | None:
        """None for a credential that is no key."""
        key = find_key(self._keys.value, credential)
        return Caller(key.tenant, frozenset(key.roles)) if key else None


class IdentitySettings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True)

    api_keys: Path | None = Field(
        None, validation_alias="TANDEM_API_KEYS", description="file of `tandem keys`; its keys are accepted"
    )
    oidc_issuer: str = Field(
        "", validation_alias="TANDEM_OIDC_ISSUER", description="its tokens are accepted", pattern=_HTTP_URL_OR_EMPTY
    )
    oidc_audience: str = Field(
        "tandem", validation_alias="TANDEM_OIDC_AUDIENCE", description="for which a token must be issued"
    )
    oidc_jwks_url: str = Field(
        "",
        validation_alias="TANDEM_OIDC_JWKS_URL",
        description="the issuer's discovery document names it if empty",
        pattern=_HTTP_URL_OR_EMPTY,
    )
    oidc_tenant_claim: str = Field(
        "tenant", validation_alias="TANDEM_OIDC_TENANT_CLAIM", description="of a token: the caller's tenant"
    )
    oidc_roles_claim: str = Field(
        "roles", validation_alias="TANDEM_OIDC_ROLES_CLAIM", description="of a token: the caller's roles"
    )
    allow_anonymous: bool = Field(
        False,
        validation_alias="TANDEM_ALLOW_ANONYMOUS",
        description="serve callers without a credential beyond this machine",
    )

    def authentication(self, host: str) -> Authentication:
        """Raises ValueError where anyone who reaches `host` could call, and no setting says so; KeyFileError for a bad
        file.
        """
        found = Authentication(ApiKeys(self.api_keys) if self.api_keys else None, self._tokens())
        if not (found.is_on or self.allow_anonymous or is_loopback(host)):
            raise ValueError(
                f"anyone who reaches {host} could ask, read and cancel every request: set TANDEM_API_KEYS (a file of "
                "`tandem keys create`) or TANDEM_OIDC_ISSUER, or say TANDEM_ALLOW_ANONYMOUS=true"
            )
        return found

    def _tokens(self) -> Tokens | None:
        if not self.oidc_issuer:
            return None
        issuer = Issuer(
            self.oidc_issuer, self.oidc_audience, self.oidc_jwks_url, self.oidc_tenant_claim, self.oidc_roles_claim
        )
        return Tokens(issuer)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
