"""Encryption of everything that Temporal keeps of a request: AES-256-GCM (NIST SP 800-38D) by keys of the operator's.

A payload is encrypted with the active key and names it; it is decrypted with the key that it names, so the active key can
change while requests run. Payloads that were written before there were keys are read as they are.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

_ENCODING, _KEY = "encoding", "encryption-key-id"
_ENCRYPTED = b"binary/encrypted"
_NONCE_BYTES, _KEY_BYTES = 12, 32


class PayloadKeys(BaseModel):
    """The file that TANDEM_PAYLOAD_KEYS names: `{"active": NAME, "keys": {NAME: base64 of 32 bytes}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    active: str
    keys: Mapping[str, str]

    @model_validator(mode="after")
    def _check(self) -> PayloadKeys:
        if self.active not in self.keys:
            raise ValueError(f"keys has no {self.active!r}, the active one")
        for name in self.keys:
            if len(self.secret(name)) != _KEY_BYTES:
                raise ValueError(f"key {name!r} is not the base64 of {_KEY_BYTES} bytes (`openssl rand -base64 32`)")
        return self

    def secret(self, name: str) -> bytes:
        try:
            return base64.b64decode(self.keys[name], validate=True)
        except binascii.Error:
            return b""


class EncryptionCodec(PayloadCodec):
    def __init__(self, keys: PayloadKeys) -> None:
        self._active = keys.active
        self._ciphers = {name: AESGCM(keys.secret(name)) for name in keys.keys}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises ValueError for a key that is not there, and for a payload that somebody has changed."""
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce, name = os.urandom(_NONCE_BYTES), self._active.encode()
        sealed = self._ciphers[self._active].encrypt(nonce, payload.SerializeToString(), name)
        return Payload(metadata={_ENCODING: _ENCRYPTED, _KEY: name}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get(_ENCODING) != _ENCRYPTED:
            return payload
        name = payload.metadata[_KEY]
        cipher = self._ciphers.get(name.decode())
        if cipher is None:
            raise ValueError(f"a payload was encrypted with the key {name.decode()!r}, which TANDEM_PAYLOAD_KEYS lacks")
        try:
            opened = cipher.decrypt(payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], name)
        except InvalidTag:
            raise ValueError(f"a payload does not fit the key {name.decode()!r}, or was changed") from None
        return Payload.FromString(opened)


def data_converter(keys_file: str) -> DataConverter:
    """Temporal's own, with encryption where a file of keys is named. Raises ValueError for a file that holds none."""
    if not keys_file:
        return DataConverter.default
    try:
        keys = PayloadKeys.model_validate_json(Path(keys_file).read_text())
    except (OSError, ValidationError) as error:
        raise ValueError(f"TANDEM_PAYLOAD_KEYS: {error}") from error
    return dataclasses.replace(
        DataConverter.default,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,  # messages and stack traces too
    )
