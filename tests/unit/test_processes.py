"""The list of processes in tandem/local/layout.py is the one list: everything else that starts them agrees with it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import yaml

from deploy import chart
from services.shared.process.server import Server
from services.shared.process.transport import PLAIN
from tandem.local.layout import FURTHER_EXECUTORS, OWN_PROCESSES, PROCESSES, Layout
from tandem.local.programs import JAEGER_IMAGE, LAUNCHER, TEMPORAL_FLAGS, program
from workflows.worker import WorkerSettings

ROOT = Path(__file__).parents[2]
COMMANDS = {process.name: ["python", "-m", process.module] for process in OWN_PROCESSES}
COMPOSE_FILE = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
COMPOSE, NETWORKS = COMPOSE_FILE["services"], COMPOSE_FILE["networks"]
PORTS = {process.name: dict(process.ports) for process in PROCESSES}
VALUES = yaml.safe_load((ROOT / "helm/values.yaml").read_text())


def test_every_process_has_a_module_that_python_can_run() -> None:
    for process in OWN_PROCESSES:
        package = importlib.util.find_spec(process.module)
        assert package is not None
        if package.submodule_search_locations:
            assert importlib.util.find_spec(f"{process.module}.__main__"), process.module


def test_a_process_is_imported_without_collections_of_garbage_and_runs_with_them(tmp_path: Path) -> None:
    (tmp_path / "launched.py").write_text(
        "import gc, sys\nfrom services.shared.process.start import run\nprint(gc.isenabled(), sys.argv[1:])\n"
        "async def main():\n    print(gc.isenabled(), gc.get_freeze_count() > 0)\nrun(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", LAUNCHER, "launched", "more"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["False ['more']", "True True"], done.stderr


def test_the_local_stack_starts_each_process_by_its_module(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "any", PORTS)
    for process in OWN_PROCESSES:
        assert program(layout, process).command[1:] == ["-m", LAUNCHER, process.module]


def test_the_image_has_a_target_for_each_process_and_no_other() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    targets = re.findall(r"^FROM \S+ AS (\S+)\nCMD (.*)$", text, flags=re.MULTILINE)
    assert {name: json.loads(command) for name, command in targets} == COMMANDS
    documented = re.search(r"--target ([a-z|\- ]+)`", text)
    assert documented
    assert set(documented[1].split(" | ")) == set(COMMANDS)


def test_compose_starts_each_process_and_no_other() -> None:
    started = {name: service["command"] for name, service in COMPOSE.items() if "-m" in service.get("command", [])}
    assert started == COMMANDS


def test_a_process_that_runs_code_of_a_model_gets_no_address_and_no_secret(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "any", PORTS)
    [isolated] = [process for process in OWN_PROCESSES if process.isolated]
    others = [layout.address(process.name) for process in layout.processes if process is not isolated]
    environment = program(layout, isolated).environment
    assert not [value for value in environment.values() for address in others if address in value]

    service = COMPOSE[isolated.name]
    addresses = re.compile(rf"\b({'|'.join(set(COMPOSE) - {isolated.name})})\b:\d+")
    assert not [value for value in service["environment"].values() if addresses.search(value)]
    assert service["volumes"] == []
    [network] = service["networks"]
    assert NETWORKS[network] == {"internal": True}
    assert {name for name, each in COMPOSE.items() if network in each.get("networks", [])} == {isolated.name, "worker"}


def test_the_worker_is_told_the_address_of_every_service_that_it_calls(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "any", PORTS)
    worker = next(process for process in OWN_PROCESSES if process.name == "worker")
    called = [process.name for process in OWN_PROCESSES if process.wave < worker.wave]
    variables = {f"TANDEM_{name.replace('-', '_').upper()}": name for name in called}
    local = program(layout, worker).environment
    assert {name: local.get(name) for name in variables} == {n: layout.address(c) for n, c in variables.items()}
    composed = COMPOSE["worker"]["environment"]
    assert {name: composed.get(name) for name in variables} == {n: f"dns:///{c}:50051" for n, c in variables.items()}
    read = {field.validation_alias for field in WorkerSettings.model_fields.values()}
    assert set(variables) <= read


def test_a_process_that_ends_where_temporal_does_not_answer_waits_for_it() -> None:
    assert all(process.waits_for == "temporal" for process in PROCESSES if process.uses_temporal)


def test_the_http_gateway_is_told_the_gateways_address_and_no_other(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "any", PORTS)
    [edge] = [process for process in OWN_PROCESSES if process.speaks_http]
    environment = program(layout, edge).environment
    assert environment["TANDEM_GATEWAY"] == layout.gateway
    assert environment["TANDEM_JAEGER"] == layout.jaeger
    composed = COMPOSE[edge.name]["environment"]
    assert composed["TANDEM_GATEWAY"] == "dns:///gateway:50051"
    for variables in (environment, composed):
        assert not {"REDIS_URL", "TEMPORAL_ADDRESS"} & variables.keys()


def test_compose_asks_each_process_for_its_readiness_and_limits_its_memory() -> None:
    for process in OWN_PROCESSES:
        where = ["http://127.0.0.1:8080/readyz"] if process.speaks_http else ["50051", process.health]
        assert COMPOSE[process.name]["healthcheck"]["test"] == ["CMD", "python", "-m", "tandem.local.probes", *where]
    assert [name for name, service in COMPOSE.items() if "mem_limit" not in service] == []
    waited_for = {
        name
        for each in COMPOSE.values()
        for name, how in dict(each.get("depends_on") or {}).items()
        if how["condition"] == "service_healthy"
    }
    assert waited_for == {"redis", "temporal", "gateway"}
    assert all("healthcheck" in COMPOSE[name] for name in waited_for)


async def test_the_health_check_of_a_container_ends_with_what_the_process_says() -> None:
    server = Server("127.0.0.1", 0, ["tandem.v1.Worker"], transport=PLAIN)
    await server.start()

    async def asked(*words: str) -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tandem.local.probes", *words)
        return await process.wait()

    assert await asked(str(server.port), "tandem.v1.Worker") == 1
    await server.serving()
    assert await asked(str(server.port), "tandem.v1.Worker") == 0
    assert await asked("http://127.0.0.1:1/readyz") == 1
    await server.stop(timedelta(0))


def test_compose_runs_temporal_and_jaeger_as_the_local_stack_does() -> None:
    expected = [f"{flag}={value}" for flag, value in zip(TEMPORAL_FLAGS[::2], TEMPORAL_FLAGS[1::2], strict=True)]
    assert [word for word in COMPOSE["temporal"]["command"] if word.startswith("--") and word in expected] == expected
    assert COMPOSE["jaeger"]["image"] == JAEGER_IMAGE == VALUES["demo"]["jaeger"]["image"]


def test_composes_temporal_keeps_its_requests_in_a_volume() -> None:
    """A container that is made anew starts with its volumes; `docker compose down --volumes` alone removes them."""
    temporal = COMPOSE["temporal"]
    [file] = [word.partition("=")[2] for word in temporal["command"] if word.startswith("--db-filename=")]
    [(volume, folder)] = [each.split(":") for each in temporal["volumes"]]
    assert Path(file).parent == Path(folder)
    assert volume in COMPOSE_FILE["volumes"]


def test_the_chart_has_values_for_each_process_and_no_other() -> None:
    assert {process.key for process in OWN_PROCESSES} <= VALUES.keys()
    with_resources = {name for name, value in VALUES.items() if isinstance(value, dict) and "resources" in value}
    assert with_resources - {"defaults", "modelDefaults"} <= {process.key for process in OWN_PROCESSES}
    facts = yaml.safe_load("\n".join(chart.processes().splitlines()[2:-3]))
    assert {key: fact["module"] for key, fact in facts.items()} == {
        p.key: p.module for p in (*OWN_PROCESSES, *FURTHER_EXECUTORS.values())
    }


def test_no_two_processes_prefer_the_same_port() -> None:
    ports = [port for process in PROCESSES for port in process.ports.values()]
    assert len(set(ports)) == len(ports)
