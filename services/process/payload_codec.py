"""How what Temporal keeps of a request is written: as JSON, encrypted by keys of the operator's where there are some.

A payload is encrypted with the active key and names it; it is decrypted with the key that it names, so the active key can
change while requests run. Payloads that were written before there were keys are read as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec

from services.sealing.keys import PayloadKeys, read_keys
from services.sealing.sealer import Sealer

NOT_ENCRYPTED = pydantic_data_converter
_ENCODING, _KEY = "encoding", "encryption-key-id"
_ENCRYPTED = b"binary/encrypted"


class EncryptionCodec(PayloadCodec):
    def __init__(self, keys: PayloadKeys) -> None:
        self._sealer = Sealer(keys)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises FailedPrecondition for a key that is not there, and for a payload that somebody has changed."""
        return [self._decrypted(payload) for payload in payloads]

    def _encrypted(self, payload: Payload) -> Payload:
        name = self._sealer.active.encode()
        sealed = self._sealer.seal(payload.SerializeToString(), context=name)
        return Payload(metadata={_ENCODING: _ENCRYPTED, _KEY: name}, data=sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        if payload.metadata.get(_ENCODING) != _ENCRYPTED:
            return payload
        name = payload.metadata[_KEY]
        return Payload.FromString(self._sealer.open(name.decode(errors="replace"), payload.data, context=name))


def data_converter(keys_file: str) -> DataConverter:
    """Temporal's for pydantic, which reads and writes the JSON of the default one in a fraction of the time; with encryption where a
    file of keys is named. Raises ValueError for a file that holds none.
    """
    keys = read_keys(keys_file)
    if keys is None:
        return NOT_ENCRYPTED
    return dataclasses.replace(
        NOT_ENCRYPTED,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,  # messages and stack traces too
    )
