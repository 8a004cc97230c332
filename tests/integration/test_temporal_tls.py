"""Temporal by mTLS as Temporal Cloud speaks it: our certificate is of an authority of ours, the server's of one that
the system trusts.

The pods' environment and files are the chart's, so that a secret without ca.crt and cert-manager's, whose ca.crt is the
client's own authority, are tried as they are in a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.worker import Worker

from services.shared.process import temporal_renewal
from services.shared.process.temporal import connect
from services.shared.process.temporal_renewal import keep_certificate
from tandem.local.certificates import Authority
from tests.chart import needs_helm, pod_specs, render

pytestmark = [needs_helm, pytest.mark.asyncio(loop_scope="session")]
CONNECT = """
import asyncio, os
from services.shared.process.temporal import connect

print(asyncio.run(connect()).namespace, flush=True)
os._exit(0)  # temporalio's core may abort a process that ends in the usual way (sdk-python#300)
"""
MTLS = "temporal.tls.existingSecret=client"


@dataclass(frozen=True)
class Cloud:
    """A real Temporal behind a proxy that speaks TLS and asks its callers for certificates of `clients`."""

    address: str
    authority: Authority
    clients: Authority
    shown: dict[bytes, asyncio.StreamWriter]
    """By certificate, the last connection that presented it."""

    async def connect(self, folder: Path, secrets: dict[str, dict[str, bytes]], *sets: str) -> tuple[int, str]:
        """Exit status and output of a process with the environment and the secrets of the chart's worker."""
        spec = pod_specs(render("gpu", *sets))["Deployment/t-tandem-worker"]
        [container] = spec["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for volume in spec["volumes"]:
            if (name := volume.get("secret", {}).get("secretName")) in secrets:
                for item in volume["secret"]["items"]:
                    file = folder / mounts[volume["name"]].lstrip("/") / item["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(secrets[name][item["key"]])
        given = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("TEMPORAL_")}
        settings = {name: value.replace("/etc/", f"{folder}/etc/") for name, value in given.items()}
        trusted = folder / "system.pem"
        trusted.write_bytes(self.authority.pem)
        environment = {**os.environ, **settings, "TEMPORAL_ADDRESS": self.address, "SSL_CERT_FILE": str(trusted)}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CONNECT, env=environment, stdout=pipe, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()


@pytest.fixture
async def cloud(temporal_address: str, tmp_path: Path) -> AsyncIterator[Cloud]:
    authority, clients = Authority(), Authority()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=clients.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    for name, text in zip(("server.crt", "server.key"), authority.issue("temporal"), strict=True):
        (tmp_path / name).write_bytes(text)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")

    shown: dict[bytes, asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown[writer.get_extra_info("ssl_object").getpeercert(binary_form=True)] = writer
        host, port = temporal_address.split(":")
        there = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield Cloud(f"localhost:{server.sockets[0].getsockname()[1]}", authority, clients, shown)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def issued(authority: Authority) -> dict[str, bytes]:
    return dict(zip(("tls.crt", "tls.key"), authority.issue("worker"), strict=True))


async def test_a_secret_without_an_authority_leads_to_a_server_that_the_system_trusts(
    cloud: Cloud, tmp_path: Path
) -> None:
    assert await cloud.connect(tmp_path, {"client": issued(cloud.clients)}, MTLS) == (0, "default\n")


async def test_cert_managers_authority_of_the_client_is_not_trusted_as_the_servers(
    cloud: Cloud, tmp_path: Path
) -> None:
    secret = {**issued(cloud.clients), "ca.crt": cloud.clients.pem}
    assert await cloud.connect(tmp_path, {"client": secret}, MTLS) == (0, "default\n")
    own = {"client": secret, "authority": {"ca.crt": cloud.clients.pem}}
    status, said = await cloud.connect(tmp_path, own, MTLS, "temporal.tls.caSecret=authority")
    # temporalio's core may crash the process when it ends at once (sdk-python#300)
    assert status in (1, -signal.SIGABRT, -signal.SIGSEGV)
    assert "no Temporal answers" in said


async def test_a_server_of_a_private_authority_is_trusted_by_name_of_its_secret(cloud: Cloud, tmp_path: Path) -> None:
    secrets = {"client": issued(cloud.clients), "authority": {"ca.crt": cloud.authority.pem}}
    found = await cloud.connect(tmp_path, secrets, MTLS, "temporal.tls.caSecret=authority")
    assert found == (0, "default\n")


@workflow.defn(sandboxed=False)
class Nothing:
    @workflow.run
    async def run(self) -> str:
        return "done"


async def test_a_worker_goes_on_with_the_certificate_that_its_files_hold_and_is_not_restarted(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "CLIENT_CERT": tmp_path / "tls.crt",
        "CLIENT_KEY": tmp_path / "tls.key",
        "SERVER_CA_CERT": tmp_path / "ca.crt",
    }
    files["SERVER_CA_CERT"].write_bytes(cloud.authority.pem)
    for name, file in files.items():
        monkeypatch.setenv(f"TEMPORAL_TLS_{name}_PATH", str(file))
    monkeypatch.setenv("TEMPORAL_ADDRESS", cloud.address)
    monkeypatch.setattr(temporal_renewal, "LOOK_SECONDS", 0.1)

    def write(chain: bytes, key: bytes) -> None:
        files["CLIENT_CERT"].write_bytes(chain)
        files["CLIENT_KEY"].write_bytes(key)

    write(*cloud.clients.issue("worker"))
    client = await connect()
    queue = uuid4().hex
    async with Worker(client, task_queue=queue, workflows=[Nothing]) as worker:
        renewing = asyncio.create_task(keep_certificate(client, [worker]))
        assert await client.execute_workflow(Nothing.run, id=uuid4().hex, task_queue=queue) == "done"
        [(old, _)] = cloud.shown.items()
        write(*Authority().issue("worker"))  # of somebody whom Temporal does not know
        await asyncio.sleep(1)
        assert await client.execute_workflow(Nothing.run, id=uuid4().hex, task_queue=queue) == "done"
        write(*cloud.clients.issue("worker"))
        async with asyncio.timeout(60):
            while len(cloud.shown) < 2:
                await asyncio.sleep(0.05)
            while worker.client.service_client.worker_service_client.config.tls == client.service_client.config.tls:
                await asyncio.sleep(0.05)
        cloud.shown.pop(old).close()
        assert await client.execute_workflow(Nothing.run, id=uuid4().hex, task_queue=queue) == "done"
        renewing.cancel()
    assert old not in cloud.shown  # nothing has connected with it again
