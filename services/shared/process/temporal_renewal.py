"""A connection to Temporal that is made anew when the files of its certificate change: temporalio's keeps what it was
made with.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from temporalio.client import Client, ClientConfig, Plugin
from temporalio.envconfig import ClientConfig as Environment
from temporalio.service import ConnectConfig, ServiceClient, TLSConfig
from temporalio.worker import Worker

from services.shared.observability.availability import export_certificate_end
from tandem.access.watched_file import WatchedFile
from tandem.errors import SetupError

logger = logging.getLogger(__name__)
LOOK_SECONDS = 10.0
CERTIFICATE = "TEMPORAL_TLS_CLIENT_CERT_PATH"
_FILES = (CERTIFICATE, "TEMPORAL_TLS_CLIENT_KEY_PATH", "TEMPORAL_TLS_SERVER_CA_CERT_PATH")


class RenewedConnection(ServiceClient):
    """Calls in flight end on the connection that they began on."""

    def __init__(self, first: ServiceClient, tls: WatchedFile[TLSConfig]) -> None:
        super().__init__(first.config)
        self._current, self._tls, self._used = first, tls, tls.value

    async def renew(self) -> bool:
        """Tell whether the files have changed, and Temporal has taken what they hold. Where it does not, the old
        connection stays.
        """
        if (found := self._tls.value) == self._used:
            return False
        try:
            self._current = await ServiceClient.connect(dataclasses.replace(self.config, tls=found))
        except RuntimeError as error:
            logger.error("Temporal is called with the certificate of before, and the new one tried again: %s", error)
            return False
        self._used = found
        return True

    @property
    def worker_service_client(self) -> Any:
        return self._current.worker_service_client

    def update_rpc_metadata(self, metadata: Any) -> None:
        self._current.update_rpc_metadata(metadata)

    def update_api_key(self, api_key: str | None) -> None:
        self._current.update_api_key(api_key)

    async def _rpc_call(self, *arguments: Any, **named: Any) -> Any:
        return await self._current._rpc_call(*arguments, **named)


class Renewal(Plugin):
    """Connects a client whose certificate `keep_certificate` renews."""

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        return config

    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        certificate, *others = [Path(os.environ[name]) for name in _FILES if os.environ.get(name)]
        watched = WatchedFile(certificate, _read_tls, "Temporal's certificates", others)
        return RenewedConnection(await next(config), watched)


async def keep_certificate(client: Client, workers: Sequence[Worker] = ()) -> None:
    """Look for another certificate for as long as the process lives; without one, return."""
    connection = client.service_client
    while isinstance(connection, RenewedConnection):
        await asyncio.sleep(LOOK_SECONDS)
        if await connection.renew():
            for worker in workers:
                worker.client = client  # it takes the connection of this moment
            logger.info("the connection to Temporal has the new certificate")


def _read_tls() -> TLSConfig:
    """Raises SetupError."""
    try:
        tls = Environment.load_client_connect_config(disable_file=True).get("tls")
    except (ValueError, RuntimeError, OSError) as error:
        raise SetupError(str(error)) from error
    if not isinstance(tls, TLSConfig) or not tls.client_cert:
        raise SetupError("Temporal's variables name no certificate")
    export_certificate_end("temporal", tls.client_cert)
    return tls
