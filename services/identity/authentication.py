"""One check of all callers, whatever door they come by: `Authorization: Bearer CREDENTIAL`, an API key or an OIDC token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.identity.api_keys import ApiKeys
from services.identity.bearer import bearer
from services.identity.caller import ANONYMOUS, Caller, set_caller
from services.identity.tokens import Tokens
from tandem.method.errors import Unauthenticated


@dataclass(frozen=True, slots=True)
class Authentication:
    """With neither keys nor tokens, every caller is anonymous."""

    api_keys: ApiKeys | None = None
    tokens: Tokens | None = None

    @property
    def is_on(self) -> bool:
        return bool(self.api_keys or self.tokens)

    async def check(self, metadata: Mapping[str, str]) -> None:
        """Makes the sender of a call its current caller. Raises as `caller`."""
        set_caller(await self.caller(metadata.get("authorization", "")))

    async def caller(self, authorization: str) -> Caller:
        """Who sent this header. Raises Unauthenticated, and Unavailable where a token cannot be checked now."""
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
