"""Readiness probes of a Redis, an HTTP server and a gRPC service, each with a timeout of one second."""

from __future__ import annotations

import socket
import sys
from urllib.request import urlopen

import grpc


def answers_ping(port: int) -> bool:
    """A Redis that asks for a password answers as well."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


def answers_http(url: str) -> bool:
    try:
        with urlopen(url, timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def is_serving(port: int, service: str, credentials: grpc.ChannelCredentials | None = None) -> bool:
    """Tell whether the service serves, by TLS with `credentials`."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # not there where only the client is installed

    address = f"127.0.0.1:{port}"
    with grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=1)
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":  # the health check of a container: URL, or PORT SERVICE
    where, service = sys.argv[1], " ".join(sys.argv[2:])
    sys.exit(not (is_serving(int(where), service) if service else answers_http(where)))
