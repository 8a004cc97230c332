"""How a process reaches Temporal: by Temporal's own variables, so that a self-hosted server and Temporal Cloud both work.

TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_TLS, TEMPORAL_TLS_SERVER_CA_CERT_PATH,
TEMPORAL_TLS_CLIENT_CERT_PATH, TEMPORAL_TLS_CLIENT_KEY_PATH, TEMPORAL_TLS_SERVER_NAME (temporalio.envconfig). Our own
TANDEM_PAYLOAD_KEYS names the keys with which all that Temporal keeps is encrypted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from temporalio.client import Client
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.service import RPCError

from services.process.payload_codec import data_converter
from tandem.errors import SetupError
from tandem.method.errors import Unavailable

_DEFAULT_ADDRESS = "127.0.0.1:7233"


def connect_config(environment: Mapping[str, str] | None = None) -> ClientConnectConfig:
    """Connection settings from the environment only; a config file in the user's home is ignored. Raises ValueError."""
    config = ClientConfig.load_client_connect_config(disable_file=True, override_env_vars=environment)
    config.setdefault("target_host", _DEFAULT_ADDRESS)
    return config


async def connect() -> Client:
    """Raises SetupError where Temporal does not answer, ValueError where the environment makes no sense."""
    config = connect_config()
    try:
        return await Client.connect(
            **config,
            data_converter=data_converter(os.environ.get("TANDEM_PAYLOAD_KEYS", "")),
            plugins=[OpenTelemetryPlugin(add_temporal_spans=True)],
        )
    except RuntimeError as error:
        raise SetupError(f"no Temporal answers at {config['target_host']}: {error}") from error


def unavailable(error: RPCError) -> Unavailable:
    """What a caller is told where Temporal does not answer."""
    return Unavailable(f"Temporal does not answer: {error.message}", reason="TEMPORAL_UNAVAILABLE")
