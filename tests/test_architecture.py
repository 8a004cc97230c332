"""The rules of the tree, held by reading every import: allowed arrows, and no circle."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tandem.method.evidence.python_parser import parse_program

ROOT = Path(__file__).parents[1]
TOPS = ("tandem", "services", "workflows", "lab", "deploy", "tests")
SERVICES = (
    "gateway",
    "http_gateway",
    "insight_generator",
    "sufficiency_scorer",
    "slm_executor",
    "answer_checker",
)
SHARED = {f"services.shared.{room}" for room in ("process", "request_log", "observability", "sealing")}
ENGINE = {"services.models.engine", "services.models.engine.loop"}
MODELS = {"services.models", "services.models.engine", "services.models.generation"}
PURE = {f"tandem.method{room}" for room in ("", ".evidence", ".promise", ".profile", ".request", ".cost", ".rule")}
BASE = {*PURE, "tandem.v1", "tandem", "tandem.client", "tandem.access", "tandem.tracing", "tandem.convert"}
# What the files of a folder may import of ours, besides their own folder. Nothing below imports anything above.
ARROWS: dict[str, set[str]] = {
    "tandem.v1": set(),
    "tandem.method": set(),
    "tandem.method.evidence": {"tandem.method"},
    "tandem.method.promise": {"tandem.method"},
    "tandem.method.profile": {"tandem.method", "tandem.method.evidence", "tandem.method.promise"},
    "tandem.method.request": {
        "tandem.method",
        "tandem.method.evidence",
        "tandem.method.profile",
        "tandem.method.promise",
    },
    "tandem.method.cost": PURE - {"tandem.method.rule"},
    "tandem.method.rule": PURE,
    "tandem.convert": {*PURE, "tandem.v1"},
    "tandem": set(),  # errors for the user, this machine's paths
    "tandem.names": {"tandem", "tandem.client"},
    "tandem.client": {"tandem", *PURE, "tandem.v1", "tandem.convert"},
    "tandem.access": {"tandem"},
    "tandem.tracing": {"tandem"},
    "tandem.openai": {"tandem", "tandem.client", *PURE, "tandem.v1"},
    "tandem.endpoints": {"tandem", *PURE},
    "services": set(),
    "services.shared": set(),
    "services.shared.observability": {"tandem", "tandem.tracing", *PURE},  # which errors never quote a request
    "services.shared.sealing": PURE,
    "services.shared.request_log": {*PURE, "services.shared.observability", "services.shared.sealing"},
    "services.shared.bounded": set(),
    "services.shared.checks": PURE,
    "services.shared.identity": {*PURE, "tandem", "tandem.access", "tandem.client"},
    "services.shared.file_store": PURE,
    "services.models.engine": {
        *PURE,
        "tandem",
        "services.shared.bounded",
    },  # it makes the engines below by their names
    "services.models.engine.loop": {*PURE, "services.models.engine"},
    "services.models.engine.llamacpp": {*PURE, "tandem", *ENGINE},  # what a GGUF file says of itself
    "services.models.engine.torch_engine": {*PURE, *ENGINE},
    "services.models.engine.remote": {
        *PURE,
        "tandem",
        "tandem.endpoints",
        "services.models.engine",
    },  # keys, bounded replies
    "services.models.generation": {
        *PURE,
        "services.models.engine",
        "services.shared.observability",
        "services.shared.request_log",
    },
    "services.shared.process": {*BASE, *(SHARED - {"services.shared.process"})},
    "services.models": {*BASE, *SHARED, *MODELS},
    "services.gateway.batches": {
        *BASE,
        *SHARED,
        "tandem.openai",
        "services.shared.identity",
        "services.shared.file_store",
    },
    "services.gateway": {
        *BASE,
        *SHARED,
        "services.shared.bounded",
        "services.shared.checks",
        "services.shared.identity",
        "services.shared.file_store",
        "services.gateway.batches",
        "services.models",  # what is counted and refused without an engine
        "tandem.openai",  # what of a body is passed on
    },
    "services.http_gateway": {*BASE, *SHARED, "tandem.openai", "services.shared.identity"},
    "services.insight_generator": {*BASE, *SHARED, *MODELS},
    "services.slm_executor": {*BASE, *SHARED, *MODELS},
    "services.model_apis": {
        "services.models",
        "services.shared.process",
        "services.insight_generator",
        "services.slm_executor",
    },
    "services.sufficiency_scorer": {*BASE, *SHARED, *MODELS},
    "services.answer_checker.sandbox": set(),
    "services.answer_checker.inside": {*PURE, "services.shared.checks", "services.answer_checker.sandbox"},
    "services.answer_checker": {
        *BASE,
        *SHARED,
        "services.shared.checks",
        "services.answer_checker.sandbox",
        "services.answer_checker.inside",
    },
    "workflows.activities": {*BASE, *SHARED, "tandem.openai", "services.shared.file_store"},
    "workflows": {*BASE, *SHARED, "services.shared.file_store", "workflows.activities"},
    "lab.training": {
        *PURE,
        "services.models.engine",
        "services.models.generation",
        "services.insight_generator",
        "services.sufficiency_scorer",
        "services.shared.checks",
        "services.answer_checker",
        "services.answer_checker.sandbox",
    },
    "lab": {"lab.training", "services.models.engine"},
    "lab.disputes": {
        *PURE,
        "tandem.client",  # dry runs, as a gateway lists them
        "tandem.v1",
        "tandem.openai",
        "tandem.convert",
        "lab",
        "lab.training",
        "services.answer_checker",
        "services.models.engine",
    },
    "lab.pairs": {
        *PURE,
        "tandem",
        "lab",
        "lab.training",
        "lab.disputes",
        "services.shared.checks",
        "services.answer_checker",
        "services.answer_checker.sandbox",
    },
    "lab.promise": {"tandem.method.promise", "lab", "lab.training", "lab.pairs"},
    "lab.paper": {
        *PURE,
        "tandem",
        "lab",
        "lab.training",
        "services.models.engine",
        "services.sufficiency_scorer",
    },
    "tandem.local": {"tandem", "tandem.access", "tandem.tracing", *PURE},  # what a profile says is read in one place
    "deploy": {
        "tandem.local",
        "services.models.engine",
    },  # the chart is generated from the lists of processes and engines
    # What the local stack needs is imported when a verb asks for it.
    "tandem.cli": {*BASE, "tandem.local", "tandem.endpoints"},
    "lab.verbs": {
        *BASE,
        "tandem.local",
        "tandem.cli",
        "lab.training",
        "lab.disputes",
    },
    "tandem.entry": {"tandem.cli"},
}
ADAPTERS = {"__main__.py", "service.py"}
WIRE = {"grpc", "redis", "temporalio", "kserve"}
NAMES = {"tandem", *(f"tandem.{name}" for name in ("events", "request", "results", "tools"))}

MORE_ADAPTERS = [
    *(
        ROOT / "services/gateway" / name
        for name in ("temporal.py", "batches/temporal.py", "history.py", "visibility.py", "workers.py")
    ),
    ROOT / "services/sufficiency_scorer/server.py",  # KServe's parts in our servers
]


def sources(*packages: str) -> Iterator[Path]:
    for package in packages:
        for file in sorted((ROOT / package.replace(".", "/")).rglob("*.py")):
            if not file.stem.endswith(("_pb2", "_pb2_grpc")):
                yield file


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def folder_of(file: Path) -> str:
    """What only gives callers a name stands in the folder `tandem`, above the rooms that it names."""
    return "tandem.names" if module_of(file) in NAMES else ".".join(file.relative_to(ROOT).parent.parts)


def files_of(folder: str) -> list[Path]:
    return [file for file in sources(folder.removesuffix(".names")) if folder_of(file) == folder]


MODULES = {module_of(file): file for top in TOPS for file in (ROOT / top).rglob("*.py")}


@cache
def parsed(file: Path) -> ast.Module:
    return parse_program(file.read_text())


@cache
def imports(file: Path) -> set[str]:
    """`from package import module` runs the package's `__init__` too."""
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | ({node.module} & MODULES.keys())
    return found


@cache
def our_imports(file: Path) -> set[str]:
    """Modules of this repository that `file` imports."""
    found = set()
    for name in imports(file):
        while name and name not in MODULES:
            name = name.rpartition(".")[0]
        if name and MODULES[name] != file:
            found.add(name)
    return found


def assert_no_circle(graph: Mapping[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(reversed(error.args[1]))) from None


def test_no_files_import_each_other_in_a_circle() -> None:
    assert_no_circle({module_of(file): our_imports(file) for file in sources(*TOPS)})


def test_no_folders_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = defaultdict(set)
    for file in sources(*TOPS):
        graph[folder_of(file)] |= {folder_of(MODULES[name]) for name in our_imports(file)} - {folder_of(file)}
    assert_no_circle(graph)


@pytest.mark.parametrize("folder", ARROWS)
def test_imports_follow_the_arrows(folder: str) -> None:
    allowed = {folder, *ARROWS[folder]}
    for file in files_of(folder):
        for name in our_imports(file):
            assert folder_of(MODULES[name]) in allowed, f"{file.relative_to(ROOT)} imports {name}"


def test_every_folder_has_its_arrows() -> None:
    """The benches alone may import everything."""
    known = {folder_of(file) for file in sources("tandem", "services", "workflows", "lab", "deploy")}
    known -= {"lab.bench", "lab.bench.agents"}
    assert known == {folder for folder in ARROWS if files_of(folder)}


def test_nothing_that_is_installed_imports_the_lab() -> None:
    for file in sources("tandem", "services", "workflows", "deploy"):
        assert not [name for name in our_imports(file) if name.split(".")[0] == "lab"], file


def test_benches_may_import_everything_but_private_names_and_nothing_imports_them() -> None:
    for file in sources("lab", "tests"):
        benches = [name for name in imports(file) if name.startswith("lab.bench.")]
        assert not [name for name in benches if name.rpartition(".")[2].startswith("_")], file
        is_free = folder_of(file).startswith("lab.bench") or file.is_relative_to(ROOT / "tests")
        assert is_free or not benches, file
    for file in sources("lab.bench"):
        assert not [name for name in imports(file) if name.rpartition(".")[2].startswith("_")], file


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_the_same_files(service: str) -> None:
    folder = ROOT / "services" / service
    assert {f.name for f in folder.glob("*.py")} >= {"__init__.py", *ADAPTERS}


@pytest.mark.parametrize("service", [*SERVICES, "models.engine"])
def test_no_domain_file_knows_the_wire(service: str) -> None:
    for file in sources(f"services.{service}"):
        if file.name not in ADAPTERS and file not in MORE_ADAPTERS:
            assert not {name.split(".")[0] for name in imports(file)} & WIRE, file


def test_the_method_is_pure() -> None:
    pure = {
        "__future__",
        "ast",
        "base64",
        "builtins",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "itertools",
        "json",
        "math",
        "operator",
        "pathlib",
        "pydantic",
        "re",
        "statistics",
        "tandem",
        "threading",
        "tomllib",
        "typing",
        "unicodedata",
        "urllib",
        "uuid",
        "zlib",
    }
    for file in sources("tandem.method"):
        assert {name.split(".")[0] for name in imports(file)} <= pure, file


def test_the_client_needs_neither_torch_nor_temporal() -> None:
    for file in sources("tandem"):
        assert not {n.split(".")[0] for n in imports(file)} & {"torch", "transformers", "temporalio", "kserve"}, file
