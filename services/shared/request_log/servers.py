"""Where Redis is and how it is entered: one server, a primary that Sentinels name, or a cluster, each with redis-py's
own client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError
from redis.maint_notifications import MaintNotificationsConfig

Client: TypeAlias = Redis | RedisCluster

_CONNECT_TIMEOUT_SECONDS = 2.0
_SENTINEL_TIMEOUT_SECONDS = 1.0
_WAIT_FOR_CONNECTION_SECONDS = 5
_LOOK_SECONDS = 10.0
_PORT, _SENTINEL_PORT = 6379, 26379
# Nobody waits for a connection to a node of a cluster: one too many is an error.
_CLUSTER_CONNECTIONS = 4096


@dataclass(frozen=True, slots=True)
class Login:
    """A user and its password. The file wins, and is read for each new connection: a secret may change while a process
    runs.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    password_file: Path | None = None

    @property
    def provider(self) -> CredentialProvider | None:
        return _Provider(self) if self.username or self.password or self.password_file else None

    def read(self) -> tuple[str, ...]:
        """What AUTH takes. Raises OSError."""
        password = self.password_file.read_text().strip() if self.password_file else self.password
        return (self.username, password) if self.username else (password,)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files; without `ca` the system's authorities count. They are read for each new connection."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def options(self) -> dict[str, Any]:
        files = {"ssl_ca_certs": self.ca, "ssl_certfile": self.certificate, "ssl_keyfile": self.key}
        return {name: str(file) for name, file in files.items() if file} | {"ssl_check_hostname": True}


@dataclass(frozen=True, slots=True)
class Access:
    """How Redis and its Sentinels are entered, besides what the URL says; a login here wins over the URL's."""

    login: Login = field(default_factory=Login)
    sentinel_login: Login = field(default_factory=Login)
    certificates: Certificates = field(default_factory=Certificates)


def open_client(url: str, access: Access, num_connections: int, timeout_seconds: float) -> Client:
    """A client of what `url` names, which waits up to `timeout_seconds` for a reply, and does not retry by itself.

    `redis://host:port/db`, `redis+sentinel://host:port,host:port/service/db` or `redis+cluster://host:port,host:port`,
    each with `rediss` for TLS, and `unix://path`. Raises ValueError for another.
    """
    options = {"decode_responses": True, "socket_timeout": timeout_seconds, **_common(_CONNECT_TIMEOUT_SECONDS)}
    scheme, _, kind = urlsplit(url).scheme.partition("+")
    waiting = {"max_connections": num_connections, "timeout": _WAIT_FOR_CONNECTION_SECONDS}
    match scheme, kind:
        case "redis" | "rediss" | "unix", "":
            return _of_one(url, access, options | waiting)
        case "redis" | "rediss", "sentinel":
            return _of_sentinels(url, access, options | waiting)
        case "redis" | "rediss", "cluster":
            return _of_cluster(url, access, options)
    raise ValueError("a Redis URL begins with redis://, redis+sentinel:// or redis+cluster://, or with rediss for TLS")


def check_url(url: str) -> None:
    """Raises ValueError where `open_client` would."""
    open_client(url, Access(), 1, 1.0)


def _common(connect_timeout_seconds: float) -> dict[str, Any]:
    return {
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": connect_timeout_seconds,
        # Redis's own servers have none, and asking for them is one more round trip for each connection.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def _of_one(url: str, access: Access, options: Mapping[str, Any]) -> Redis:
    named: dict[str, Any] = dict(parse_url(url))
    login = _login(access.login, named.pop("username", None), named.pop("password", None))
    tls = access.certificates.options if url.startswith("rediss") else {}
    return Redis.from_pool(_Pool(**{**options, **tls, **named}, credential_provider=login.provider))


def _of_sentinels(url: str, access: Access, options: Mapping[str, Any]) -> Redis:
    nodes, login, path = _nodes(url, _SENTINEL_PORT)
    service, _, db = path.partition("/")
    if not service or not (db or "0").isdecimal():
        raise ValueError(
            "a Redis URL of Sentinels ends in the name of what they watch: redis+sentinel://host:port/service"
        )
    tls = {"ssl": True, **access.certificates.options} if url.startswith("rediss") else {}
    asking = {
        **_common(_SENTINEL_TIMEOUT_SECONDS),
        "socket_timeout": _SENTINEL_TIMEOUT_SECONDS,
        "credential_provider": access.sentinel_login.provider,
    }
    client: Redis = Sentinel(nodes, sentinel_kwargs=asking | tls).master_for(
        service,
        connection_pool_class=_PrimaryPool,
        credential_provider=_login(access.login, *login).provider,
        db=int(db or 0),
        **options,
        **tls,
    )
    return client


def _of_cluster(url: str, access: Access, options: Mapping[str, Any]) -> RedisCluster:
    nodes, login, path = _nodes(url, _PORT)
    if path:
        raise ValueError("a Redis cluster has no databases: its URL ends after the hosts")
    client = RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in nodes],
        # A shard without a primary is its own requests' trouble, not everybody's.
        require_full_coverage=False,
        max_connections=_CLUSTER_CONNECTIONS,
        credential_provider=_login(access.login, *login).provider,
        ssl=url.startswith("rediss"),
        **options,
        **(access.certificates.options if url.startswith("rediss") else {}),
    )
    # It takes no class of connections; those of nodes that it meets later are made by the same values.
    kind = client.connection_kwargs["connection_class"] = _checked(client.connection_kwargs["connection_class"])
    for node in client.startup_nodes:
        node.connection_class = kind
    return client


def _nodes(url: str, port: int) -> tuple[list[tuple[str, int]], tuple[str | None, str | None], str]:
    """Hosts with ports, user and password, and the path without its slashes."""
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    named = [urlsplit(f"//{host}") for host in hosts.split(",")]
    if not all(host.hostname for host in named) or parts.query or parts.fragment:
        raise ValueError("hosts are missing in a Redis URL, or it has options, which only a single server's may have")
    username, _, password = credentials.partition(":")
    login = (unquote(username) or None, unquote(password) or None)
    return [(host.hostname or "", host.port or port) for host in named], login, parts.path.strip("/")


def _login(login: Login, username: str | None, password: str | None) -> Login:
    """`login`, or without one the URL's."""
    return login if login.provider else Login(username or "", password or "")


class _Provider(CredentialProvider):  # type: ignore[misc]  # untyped
    def __init__(self, login: Login) -> None:
        self._login = login

    def get_credentials(self) -> tuple[str, ...]:
        return self._login.read()

    async def get_credentials_async(self) -> tuple[str, ...]:
        return self._login.read()


@cache
def _checked(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    """Connections of a `kind` that are asked, just before a write, whether they are closed.

    Another task may close one within a command (https://github.com/redis/redis-py/issues/4287, open in 8.1), and each
    event loop then raises an error of its own, which redis-py does not take for a broken connection.
    """

    class Checked(kind):  # type: ignore[misc]  # untyped
        async def _send_packed_command(self, command: Iterable[bytes]) -> None:
            if self._writer is None or self._writer.is_closing():
                raise ConnectionError("the connection was closed before the command was written")
            await super()._send_packed_command(command)

    return Checked


class _Pool(BlockingConnectionPool):  # type: ignore[misc]  # untyped
    """Closes unused connections whose other end Redis has closed (its `timeout`): redis-py would find that out at their
    next use, and keep them half closed until then.
    """

    _closing: asyncio.Task[None] | None = None

    def make_connection(self) -> AbstractConnection:
        return _checked(self.connection_class)(**self.connection_kwargs)

    async def release(self, connection: AbstractConnection) -> None:
        await super().release(connection)
        if self._closing is None or self._closing.done():
            self._closing = asyncio.create_task(self._close_ended())

    async def aclose(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        await super().aclose()

    async def _close_ended(self) -> None:
        """As long as any is connected and unused."""
        connected = True
        while connected:
            await asyncio.sleep(_LOOK_SECONDS)
            async with self._condition:  # nobody takes one meanwhile
                unused = [connection for connection in self._available_connections if connection.is_connected]
                for connection in unused:
                    if await _has_ended(connection):
                        await connection.disconnect()
                connected = any(connection.is_connected for connection in unused)


async def _has_ended(connection: AbstractConnection) -> bool:
    """Or has something to read, which no command asked for."""
    try:
        return bool(await connection.can_read())
    except (ConnectionError, OSError):
        return True


class _PrimaryPool(SentinelConnectionPool, _Pool):  # type: ignore[misc]  # untyped
    """Waits for a connection like any other pool, and asks the Sentinels once for all connections that are lost at one
    moment.
    """

    def __init__(self, service_name: str, sentinel_manager: Sentinel, **options: Any) -> None:
        super().__init__(service_name, sentinel_manager, **options)
        self._asking: asyncio.Task[tuple[str, int]] | None = None

    async def get_master_address(self) -> tuple[str, int]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(super().get_master_address())
        return await asyncio.shield(self._asking)

    async def aclose(self) -> None:
        await super().aclose()
        await self.sentinel_manager.aclose()
