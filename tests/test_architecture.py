"""The rules of the tree, held by reading every import (DESIGN: imports flow one way)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = ("gateway", "insight_generator", "sufficiency_scorer", "slm_executor")
ALLOWED = {
    "protos": {"protos"},
    # The command line is the door to the training, whose imports wait until a verb needs them.
    "tandem": {"tandem", "protos", "training", "services.common.profile", "services.common.errors"},
    "training": {"training", "workflows", "services", "protos"},
    "workflows": {"workflows", "services.common", "protos"},
    "services.common": {"services.common", "protos"},
    "services.engine": {"services.engine"},
    "services.gateway": {
        "services.gateway",
        "services.common",
        "workflows.shared",
        "workflows.stop_rule",
        "workflows.search",
        "protos",
    },
    **{f"services.{s}": {f"services.{s}", "services.common", "services.engine", "protos"} for s in SERVICES[1:]},
}
ADAPTERS = {"__main__.py", "service.py"}
# The gateway's one door to Temporal, and what all processes share of gRPC and Redis.
WIRE = {"grpc", "redis", "temporalio", "kserve"}


def sources(package: str) -> Iterator[Path]:
    for file in (ROOT / package.replace(".", "/")).rglob("*.py"):
        if not file.stem.endswith(("_pb2", "_pb2_grpc")):
            yield file


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_ours(name: str) -> bool:
    return name.split(".")[0] in ("protos", "services", "workflows", "tandem", "training", "tests")


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_flow_one_way(package: str) -> None:
    allowed = ALLOWED[package]
    for file in sources(package):
        for name in imports(file):
            fine = not is_ours(name) or any(
                name == a or name.startswith(f"{a}.") or a.startswith(f"{name}.") for a in allowed
            )
            assert fine, f"{file.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_the_same_files(service: str) -> None:
    folder = ROOT / "services" / service
    assert {f.name for f in folder.glob("*.py")} >= {"__init__.py", *ADAPTERS}


@pytest.mark.parametrize("service", [*SERVICES, "engine"])
def test_no_domain_file_knows_the_wire(service: str) -> None:
    for file in sources(f"services.{service}"):
        if file.name not in ADAPTERS and file != ROOT / "services/gateway/temporal.py":
            assert not {name.split(".")[0] for name in imports(file)} & WIRE, file


def test_the_pure_parts_of_the_workflow_are_pure() -> None:
    for name in ("stop_rule", "cost", "answer", "record", "shared"):
        outside = {n for n in imports(ROOT / "workflows" / f"{name}.py") if not n.startswith("services.common.prices")}
        pure = {"__future__", "collections", "dataclasses", "datetime", "enum", "typing", "workflows"}
        assert {n.split(".")[0] for n in outside} <= pure


def test_the_client_needs_neither_torch_nor_temporal() -> None:
    for file in sources("tandem"):
        assert not {n.split(".")[0] for n in imports(file)} & {"torch", "transformers", "temporalio", "kserve"}, file


def test_no_file_outgrows_a_readers_patience() -> None:
    long = [f for p in ("services", "workflows", "tandem") for f in sources(p) if len(f.read_text().splitlines()) > 430]
    assert long == []
