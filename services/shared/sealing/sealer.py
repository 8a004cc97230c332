"""AES-256-GCM (NIST SP 800-38D): what is sealed names its key, so the active one can change while requests run."""

from __future__ import annotations

import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from services.shared.sealing.keys import KEY_BYTES, PayloadKeys, unreadable

_NONCE_BYTES = 12
_REMEMBERED = 1024  # keys of requests


class Sealer:
    """Seals with the active key, and opens with the key that is named.

    `scope` derives a key of its own (HKDF, RFC 5869): random nonces may repeat after 2^32 uses of one key, which the
    tokens of all requests together would reach. `context` is where the data belongs: moved to another place it does not
    open.
    """

    def __init__(self, keys: PayloadKeys) -> None:
        self.active = keys.active
        self._secrets = {name: keys.secret(name) for name in keys.keys}
        self._cipher = lru_cache(maxsize=_REMEMBERED)(self._derived)

    def seal(self, data: bytes, context: bytes, scope: str = "") -> bytes:
        """The nonce, then the encrypted data with its tag: 28 bytes more than `data`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher(self.active, scope).encrypt(nonce, data, context)

    def open(self, key: str, sealed: bytes, context: bytes, scope: str = "") -> bytes:
        """Raises FailedPrecondition for a key that is not there, and for data that does not fit it."""
        if key not in self._secrets:
            raise unreadable(f"it was encrypted with the key {key!r}, which TANDEM_PAYLOAD_KEYS lacks here")
        try:
            return self._cipher(key, scope).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise unreadable(f"it does not fit the key {key!r}, or was changed") from None

    def _derived(self, key: str, scope: str) -> AESGCM:
        secret = self._secrets[key]
        if not scope:
            return AESGCM(secret)
        return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=None, info=b"tandem:" + scope.encode()).derive(secret))
