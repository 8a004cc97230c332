"""How a gateway asks its callers who they are, from the environment."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.identity.api_keys import ApiKeys
from services.identity.authentication import Authentication
from services.identity.tokens import Issuer, Tokens

_HTTP_URL_OR_EMPTY = r"^(https?://.+)?$"


class IdentitySettings(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore")

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
        """Raises ValueError where anyone who reaches `host` could call, and no setting says so; KeyFileError for a bad file."""
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
    """Only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
