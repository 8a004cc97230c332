"""Ports where Tandem asks nobody who they are: each has a row in docs/access.md, and who keeps strangers away from it.

And on which addresses all ports are.
"""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.shared.observability import metrics
from services.shared.process.server import Server
from services.shared.process.settings import ProcessSettings
from services.shared.process.start import bound_socket
from services.shared.process.transport import PLAIN
from tandem.local.layout import OWN_PROCESSES, PROCESSES, Layout
from tandem.local.ports import free_port
from tandem.local.programs import program
from tandem.paths import REPOSITORY
from tests.chart import COMPONENTS, named, needs_helm, render
from tests.tables import cells

# Their callers are the other tables': by gRPC, by HTTP, between processes.
WITH_CALLERS = {f"{process.name}/main" for process in OWN_PROCESSES} | {"gateway/internal"}
METRICS_PORT = 9090


def test_every_port_has_a_row() -> None:
    named_there = {
        port for row in cells("access.md", "other ports") for port in re.findall(r"`([a-z-]+/[a-z-]+)`", row[0])
    }
    ports = {f"{process.name}/{purpose}" for process in PROCESSES for purpose in process.ports}
    assert named_there == ports - WITH_CALLERS


def test_every_row_names_a_test_that_there_is() -> None:
    files = [row[-1].strip("`") for row in cells("access.md", "other ports")]
    assert [file for file in files if not re.fullmatch(r"tests/.*/test_\w+\.py", file)] == []
    assert [file for file in files if not (REPOSITORY / file).is_file()] == []


def test_metrics_are_told_without_a_credential() -> None:
    port = free_port()
    metrics.expose("127.0.0.1", port, "gateway")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
        assert reply.status == 200


@pytest.mark.skipif(not Path("/proc/net/if_inet6").is_file(), reason="needs a kernel with IPv6")
@pytest.mark.parametrize("host", ["::", "[::]"])
async def test_every_port_answers_by_both_families_where_the_host_is_any(host: str) -> None:
    settings = ProcessSettings(host=host)
    server = Server(settings.host, 0, ["any"], transport=PLAIN)
    await server.start()
    metrics_port = free_port()
    metrics.expose(settings.host, metrics_port, "worker")
    with bound_socket(settings.host, 0) as http:
        http.listen()
        for address in ("127.0.0.1", "[::1]"):
            async with grpc.aio.insecure_channel(f"{address}:{server.port}") as channel:
                reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
            reading = asyncio.to_thread(urllib.request.urlopen, f"http://{address}:{metrics_port}/metrics", timeout=60)
            with await reading as told:
                assert told.status == 200
            socket.create_connection((address.strip("[]"), http.getsockname()[1]), timeout=60).close()
    await server.stop(timedelta(0))


@needs_helm
def test_network_policies_let_the_named_scrapers_alone_reach_metrics() -> None:
    scrapers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}]
    for sets, expected in (((), [scrapers]), (("networkPolicy.scrapers=null",), [])):
        objects = render("hardened", *sets)
        for component in COMPONENTS:
            rules = named(objects, "NetworkPolicy", component)["spec"]["ingress"] or []
            assert [rule.get("from") for rule in rules if _is_for_metrics(rule)] == expected, component


def test_the_local_stack_listens_on_this_machine_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "any", {process.name: dict(process.ports) for process in PROCESSES})
    assert ProcessSettings.model_fields["host"].default == "127.0.0.1"
    for process in OWN_PROCESSES:
        assert "TANDEM_HOST" not in program(layout, process).environment
    for name, option in (("redis", "--bind"), ("temporal", "--ip")):
        [process] = [each for each in PROCESSES if each.name == name]
        command = program(layout, process).command
        assert command[command.index(option) + 1] == "127.0.0.1"
    jaeger = (REPOSITORY / "deploy/jaeger.yaml").read_text()
    hosts = re.findall(r'endpoint: "(\S+?):\$', jaeger)
    assert hosts == ["${env:JAEGER_LISTEN_HOST:-127.0.0.1}"] * len(dict(layout.ports["jaeger"]))


def _is_for_metrics(rule: dict[str, list[dict[str, int]]]) -> bool:
    return any(port["port"] == METRICS_PORT for port in rule["ports"])
