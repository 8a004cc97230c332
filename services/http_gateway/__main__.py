"""Start the HTTP gateway: `python -m services.http_gateway`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pydantic import Field

from services.http_gateway.lifetime import CLOSE_SECONDS, Readiness
from services.http_gateway.service import OWN_PAGE, make_app
from services.shared.identity.authentication import is_loopback
from services.shared.observability import metrics, tracing
from services.shared.process.http_server import MAX_CONNECTIONS, HttpServer, http_config
from services.shared.process.server import termination
from services.shared.process.settings import Names, ProcessSettings, read_settings
from services.shared.process.start import bound_socket, run
from services.shared.process.transport import own_transport
from services.shared.process.web_pages import WebPages
from tandem.client.clients import AsyncClient
from tandem.client.contract import MAX_REQUEST_BYTES
from tandem.client.gateway import Gateway

# Longer than clients and load balancers keep idle connections: who closes first must not be the one that may be asked
# again.
_KEEP_ALIVE_SECONDS = 75


class HttpGatewaySettings(ProcessSettings):
    gateway: str = Field("127.0.0.1:50050", validation_alias="TANDEM_GATEWAY", description="the gRPC gateway")
    allow_anonymous: bool = Field(
        False,
        validation_alias="TANDEM_ALLOW_ANONYMOUS",
        description="serve other machines without a credential, where the gateway does",
    )
    jaeger: str = Field("", validation_alias="TANDEM_JAEGER", description="URL that the page's links to traces lead to")
    max_body_bytes: int = Field(
        MAX_REQUEST_BYTES,
        gt=0,
        validation_alias="TANDEM_MAX_BODY_BYTES",
        description="a larger body is refused with 413",
    )
    max_connections: int = Field(
        MAX_CONNECTIONS,
        gt=1,  # the request's own counts
        validation_alias="TANDEM_MAX_CONNECTIONS",
        description="open connections; then idle ones are closed, else requests get 503",
    )
    trusted_proxies: Names = Field(
        ("127.0.0.1", "::1"),
        validation_alias="FORWARDED_ALLOW_IPS",
        description="proxies whose X-Forwarded-For names the client, separated by commas; `*`: every one",
    )
    allowed_hosts: Names = Field(
        (),
        validation_alias="TANDEM_ALLOWED_HOSTS",
        description="names of this process, such as `*.example.com`, or `*`; used on loopback and without credentials",
    )
    allowed_origins: Names = Field(
        (),
        validation_alias="TANDEM_ALLOWED_ORIGINS",
        description="other origins whose pages may call, such as https://app.example.com",
    )

    def pages(self) -> WebPages:
        """Return the pages. Where no credential is asked for, the name that a browser calls is all that tells its own
        page from a stranger's.
        """
        is_open = self.allow_anonymous or is_loopback(self.host)
        origins = tuple(origin.rstrip("/").lower() for origin in self.allowed_origins)
        return replace(OWN_PAGE, hosts=self.allowed_hosts if is_open else None, origins=origins)


class HttpGateway:
    """The HTTP gateway before the gRPC one that `client` asks."""

    def __init__(self, settings: HttpGatewaySettings, client: AsyncClient) -> None:
        self._settings = settings
        self._readiness = Readiness(client, may_be_open=settings.allow_anonymous or is_loopback(settings.host))
        self._app = make_app(
            client,
            self._readiness,
            settings.jaeger,
            settings.max_body_bytes,
            settings.pages(),
        )
        self.server = HttpServer(
            http_config(
                self._app,
                settings.host,
                settings.port,
                settings.max_connections,
                forwarded_allow_ips=list(settings.trusted_proxies),
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=round(settings.drain.total_seconds()) + CLOSE_SECONDS,
            )
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set: not ready first, then no new requests; what outlasts the drain is told so.
        Raises SetupError.
        """
        settings, server = self._settings, self.server
        serving = asyncio.create_task(server.serve([bound_socket(settings.host, settings.port)]))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        self._readiness.is_draining = True
        if not serving.done():
            await asyncio.sleep(settings.unready_pause.total_seconds())
        server.should_exit = True
        stopping.cancel()
        await asyncio.wait({serving}, timeout=settings.drain.total_seconds())
        self._app.state.ending.begin()
        await serving


async def main() -> None:
    settings = read_settings(HttpGatewaySettings)
    tracing.setup("tandem-http-gateway", settings.log_level)
    metrics.expose(settings.host, settings.metrics_port, "http-gateway")
    channel = own_transport().secured(Gateway(settings.gateway).aio_channel)
    async with AsyncClient(settings.gateway, channel=channel) as client, termination() as stop:
        await HttpGateway(settings, client).serve(stop)
    tracing.shutdown()


if __name__ == "__main__":
    run(main)
