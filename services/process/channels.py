"""Client channels between the services. No retries here: Temporal is the one layer that retries."""

from __future__ import annotations

import grpc

from services.observability.tracing import client_interceptors
from services.process.server import MESSAGE_LIMIT, PING_TIMEOUT_MS
from services.process.transport import PLAIN, Transport

_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    ("grpc.enable_retries", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.lb_policy_name", "round_robin"),
    # A service that restarts is found again within a second, not after gRPC's two-minute backoff.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A pod that is replaced has another address: its name is looked up again after a second, not after half a minute, and
    # what does not answer to a connection is given up after a few.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.min_reconnect_backoff_ms", 3_000),
]


def open_channel(address: str, transport: Transport = PLAIN) -> grpc.aio.Channel:
    """A channel to `host:port` or `dns:///headless-service:port`: by TLS where `transport` has a certificate, which the name must
    be in.
    """

    def secure(credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(address, credentials, options=_OPTIONS, interceptors=client_interceptors())

    return transport.secured(secure) or grpc.aio.insecure_channel(
        address, options=_OPTIONS, interceptors=client_interceptors()
    )
