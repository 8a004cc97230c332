"""Client channels between the services. No retries here: Temporal is the one layer that retries."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import grpc

from services.shared.observability.tracing import client_interceptors
from services.shared.process.server import MESSAGE_LIMIT, PING_TIMEOUT_MS
from services.shared.process.service_channel import ServiceChannel
from services.shared.process.transport import PLAIN, Transport

_OPTIONS = {
    "grpc.max_receive_message_length": MESSAGE_LIMIT,
    "grpc.max_send_message_length": MESSAGE_LIMIT,
    "grpc.enable_retries": 0,
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
    "grpc.http2.ping_timeout_ms": PING_TIMEOUT_MS,
    "grpc.lb_policy_name": "round_robin",  # of one address, too: it connects again by itself
    # A service that restarts is found again within a second, not after gRPC's two-minute backoff.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1_000,
    # A pod that is replaced has another address: its name is looked up again after a second, not after half a minute,
    # and what does not answer to a connection is given up after a few.
    "grpc.dns_min_time_between_resolutions_ms": 1_000,
    "grpc.min_reconnect_backoff_ms": 3_000,
}
_PODS = "dns:///"


async def pod_addresses(name: str) -> list[str]:
    """`ADDRESS:PORT` of each pod behind `NAME:PORT`. Raises OSError."""
    host, _, port = name.rpartition(":")
    found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    hosts = [f"[{at[0]}]" if family is socket.AF_INET6 else str(at[0]) for family, *_, at in found]
    return [f"{host}:{port}" for host in hosts]


def open_channel(
    target: str, transport: Transport = PLAIN, resolve: Callable[[str], Awaitable[list[str]]] = pod_addresses
) -> grpc.aio.Channel:
    """Return a channel to `host:port` or anything else that gRPC resolves, or to all pods of
    `dns:///headless-service:port`. By TLS where `transport` has a certificate, which the name must be in.
    """
    name = target.removeprefix(_PODS)
    is_of_pods = name != target
    of_pod = {**_OPTIONS, "grpc.default_authority": name, "grpc.enable_http_proxy": 0}
    of_name = {**_OPTIONS, "grpc.lb_policy_name": "pick_first"} if is_of_pods else _OPTIONS

    def open_one(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        where, options = address or target, list((of_pod if address else of_name).items())
        if credentials:
            return grpc.aio.secure_channel(where, credentials, options=options, interceptors=client_interceptors())
        return grpc.aio.insecure_channel(where, options=options, interceptors=client_interceptors())

    if not (is_of_pods or transport.is_on):
        return open_one("", None)
    return ServiceChannel(open_one, transport.certificate, partial(resolve, name) if is_of_pods else None)
