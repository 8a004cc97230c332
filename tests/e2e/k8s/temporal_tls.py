"""Temporal's development server speaks no TLS: a proxy in front of it, which asks its callers for certificates."""

from __future__ import annotations

from typing import Any

from tandem.local.certificates import Authority
from tests.e2e.k8s.pods import CONTAINER
from tests.e2e.k8s.release import NAME, Release
from tests.e2e.k8s.secrets import secret

SERVER_NAME = "temporal.example.org"
_PROXY = """
import asyncio, ssl, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    there = await asyncio.open_connection(sys.argv[1], 7233)
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="/tls/ca.crt")
    context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    async with await asyncio.start_server(serve, "0.0.0.0", 7233, ssl=context) as server:
        await server.serve_forever()

asyncio.run(main())
"""


def install(release: Release) -> None:
    """The proxy, and the secrets of both ends, whose certificates are of two authorities."""
    authority, clients, namespace = Authority(), Authority(), release.namespace
    release.cluster.apply(
        [
            secret("temporal-server", namespace, {**_issued(authority), "ca.crt": clients.pem}),
            secret("temporal-client", namespace, _issued(clients)),
            secret("temporal-authority", namespace, {"ca.crt": authority.pem}),
            {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": "temporal-tls", "namespace": namespace},
                "spec": {"selector": {"app": "temporal-tls"}, "ports": [{"port": 7233}]},
            },
            {
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "temporal-tls", "namespace": namespace, "labels": {"app": "temporal-tls"}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {
                            "name": "proxy", **CONTAINER,
                            "args": ["python", "-c", _PROXY, f"{NAME}-demo-temporal"],
                            "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
                        }
                    ],
                    "volumes": [{"name": "tls", "secret": {"secretName": "temporal-server"}}],
                },
            },
        ]
    )  # fmt: skip


def values(release: Release) -> dict[str, Any]:
    """What the chart needs to reach Temporal through the proxy, from any namespace."""
    address = f"temporal-tls.{release.namespace}.svc:7233"
    tls = {"existingSecret": "temporal-client", "caSecret": "temporal-authority", "serverName": SERVER_NAME}
    return {"address": address, "tls": tls}


def _issued(authority: Authority) -> dict[str, bytes]:
    return dict(zip(("tls.crt", "tls.key"), authority.issue("temporal", [SERVER_NAME]), strict=True))
