"""How a process reaches Temporal: by Temporal's own variables, so that a self-hosted server and Temporal Cloud both
work.

TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS, TEMPORAL_TLS_SERVER_CA_CERT_PATH,
TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH, TEMPORAL_TLS_SERVER_NAME (temporalio.envconfig). Our own
TANDEM_PAYLOAD_KEYS names the keys with which all that Temporal keeps is encrypted.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin
from temporalio.converter import DataConverter, DefaultFailureConverterWithEncodedAttributes, PayloadCodec
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, TLSConfig

from services.shared.observability.availability import count_unreached, export_certificate_end
from services.shared.process.payloads import BriefPayloads
from services.shared.process.temporal_renewal import CERTIFICATE, Renewal
from services.shared.sealing.keys import PayloadKeys, read_keys
from services.shared.sealing.sealer import Sealer
from tandem.errors import SetupError
from tandem.method.errors import Unavailable

_DEFAULT_ADDRESS = "127.0.0.1:7233"
NOT_ENCRYPTED = DataConverter(payload_converter_class=BriefPayloads)
_ENCODING, _KEY = "encoding", "encryption-key-id"
_ENCRYPTED = b"binary/encrypted"


def connect_config(environment: Mapping[str, str] | None = None) -> ClientConnectConfig:
    """Connection settings from the environment only; a config file in the user's home is ignored. Raises ValueError."""
    config = ClientConfig.load_client_connect_config(disable_file=True, override_env_vars=environment)
    config.setdefault("target_host", _DEFAULT_ADDRESS)
    return config


async def connect(runtime: Runtime | None = None) -> Client:
    """`runtime`: another one than the process's own. Raises SetupError where Temporal does not answer, ValueError where
    the environment makes no sense.
    """
    config = connect_config()
    if isinstance(tls := config.get("tls"), TLSConfig) and tls.client_cert:
        export_certificate_end("temporal", tls.client_cert)
    renewal = [Renewal()] if os.environ.get(CERTIFICATE) else []
    try:
        return await Client.connect(
            **config,
            runtime=runtime,
            data_converter=data_converter(os.environ.get("TANDEM_PAYLOAD_KEYS", "")),
            plugins=[*renewal, OpenTelemetryPlugin(add_temporal_spans=True)],
        )
    except RuntimeError as error:
        raise SetupError(f"no Temporal answers at {config['target_host']}: {error}") from error


def unavailable(error: RPCError) -> Unavailable:
    """Return what a caller is told where Temporal does not answer. It is counted."""
    count_unreached("temporal")
    return Unavailable(f"Temporal does not answer: {error.message}", reason="TEMPORAL_UNAVAILABLE")


class EncryptionCodec(PayloadCodec):
    """A payload is encrypted with the active key and names it; it is decrypted with the key that it names, so the
    active key can change while requests run. Payloads that were written before there were keys are read as they are.
    """

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
    """JSON by pydantic (services.shared.process.payloads); with encryption where a file of keys is named. Raises
    ValueError for a file that holds none.
    """
    keys = read_keys(keys_file)
    if keys is None:
        return NOT_ENCRYPTED
    return dataclasses.replace(
        NOT_ENCRYPTED,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,  # messages and stack traces too
    )
