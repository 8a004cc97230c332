"""The public keys of an OIDC issuer, kept ready: a token whose key is known waits for nobody."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt

from tandem.method.errors import Unavailable

logger = logging.getLogger(__name__)

_FETCH_SECONDS = 3.0
_RENEW_SECONDS = 300.0  # a key that the issuer withdrew is refused after this time
_KEEP_SECONDS = 3600.0  # as long as the issuer cannot be reached, its last keys hold
_PAUSE_SECONDS = 10.0  # after a fetch that failed
_STEP_SECONDS = 1.0  # between two fetches: tokens with made-up key ids cost the issuer no more
_MOST_BYTES = 2**20
_MOST_WAITING = 64
_BROKEN = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, KeyError, TypeError, RecursionError, jwt.PyJWTError)


class UnknownKey(Exception):
    """The issuer has no key of this id."""


class IssuerKeys:
    """Fetches the keys when a token names one that is unknown, and from then on every _RENEW_SECONDS. There is one
    fetch at a time, on the event loop: it holds no thread, and those that need it wait for the same one.

    Without `jwks_url` the issuer's discovery document names it.
    """

    def __init__(self, issuer: str, jwks_url: str = "") -> None:
        self._issuer, self._jwks_url = issuer, jwks_url
        self._known: Mapping[str, jwt.PyJWK] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._renewal: asyncio.TimerHandle | None = None
        self._fetched_at = self._retry_at = float("-inf")
        self._failure = ""
        self._num_waiting = 0

    async def key(self, key_id: str) -> jwt.PyJWK:
        """Raises UnknownKey, and Unavailable where the issuer cannot be asked, at once in the pause after a failure."""
        if key_id not in self._known:
            await self._wait_for_fetch()
        try:
            return self._known[key_id]
        except KeyError:
            raise UnknownKey(f"its issuer has no key {key_id!r}") from None

    async def _wait_for_fetch(self) -> None:
        self._require_reachable()
        if self._num_waiting >= _MOST_WAITING:
            raise self._unavailable("too many tokens wait for them", _STEP_SECONDS)
        self._num_waiting += 1
        try:
            await asyncio.shield(self._begin_fetch())
        finally:
            self._num_waiting -= 1
        self._require_reachable()

    def _require_reachable(self) -> None:
        left = self._retry_at - time.monotonic()
        if left > 0:
            raise self._unavailable(self._failure, left)

    def _unavailable(self, why: str, seconds: float) -> Unavailable:
        return Unavailable(
            f"the keys of {self._issuer} cannot be read: {why}", reason="ISSUER_UNAVAILABLE", retry_after_s=seconds
        )

    def _begin_fetch(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        await asyncio.sleep(self._fetched_at + _STEP_SECONDS - time.monotonic())
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._known = await self._read_keys()
            self._fetched_at, next_in = time.monotonic(), _RENEW_SECONDS
        except _BROKEN as error:
            self._failure, next_in = f"{error}" or type(error).__name__, _PAUSE_SECONDS
            logger.warning("the keys of %s cannot be read: %s", self._issuer, self._failure)
            self._retry_at = time.monotonic() + _PAUSE_SECONDS
            if self._fetched_at + _KEEP_SECONDS < time.monotonic():
                self._known = {}
        self._fetching = None
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.get_running_loop().call_later(next_in, self._begin_fetch)

    async def _read_keys(self) -> dict[str, jwt.PyJWK]:
        # The system's certificates, as an operator's private issuer needs them; httpx has its own. The caller limits
        # the time of all of it.
        context = ssl.create_default_context()
        async with httpx.AsyncClient(verify=context, timeout=_FETCH_SECONDS, follow_redirects=True) as client:
            url = self._jwks_url
            if not url:
                url = (await _read(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"))["jwks_uri"]
            found = jwt.PyJWKSet.from_dict(await _read(client, url))
        return {key.key_id: key for key in found.keys if key.key_id and key.public_key_use in ("sig", None)}


async def _read(client: httpx.AsyncClient, url: str) -> Any:
    body = b""
    async with client.stream("GET", url) as reply:
        reply.raise_for_status()
        async for chunk in reply.aiter_bytes():
            body += chunk
            if len(body) > _MOST_BYTES:
                raise ValueError(f"{url} has more than {_MOST_BYTES} bytes")
    return json.loads(body)
