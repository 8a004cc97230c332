"""The chart, rendered by helm, and what of it tests look at."""

from __future__ import annotations

import pickle
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.local.layout import OWN_PROCESSES
from tests.kubernetes_tools import program

ROOT = Path(__file__).parents[1]
CHART = ROOT / "helm"
CI = sorted(path.stem.removesuffix("-values") for path in (CHART / "ci").glob("*-values.yaml"))
MODELS = tuple(process.name for process in OWN_PROCESSES if process.runs_model)
[CHECKER] = [process.name for process in OWN_PROCESSES if process.isolated]
[EDGE] = [process.name for process in OWN_PROCESSES if process.speaks_http]
COMPONENTS = tuple(process.name for process in OWN_PROCESSES)
HELM = program("helm")
needs_helm = pytest.mark.skipif(not HELM.is_file(), reason=f"needs helm: put one at {HELM}")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *arguments], capture_output=True, text=True, check=False)


def render(values: str, *sets: str) -> list[dict[str, Any]]:
    """The objects, a copy for each caller: helm renders the same values once."""
    objects: list[dict[str, Any]] = pickle.loads(_rendered(values, sets))
    return objects


def duplicate_keys(values: str, *sets: str) -> list[str]:
    """Keys that a mapping of the rendered manifests says twice, which strict readers refuse."""
    found: list[str] = []

    class Strict(yaml.CSafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key) for key, _ in node.value]
            found.extend(str(key) for key in set(keys) if keys.count(key) > 1)
            return super().construct_mapping(node, deep)

    list(yaml.load_all(_text(values, sets), Strict))
    return found


@cache
def _rendered(values: str, sets: tuple[str, ...]) -> bytes:
    return pickle.dumps([document for document in yaml.load_all(_text(values, sets), yaml.CSafeLoader) if document])


def _text(values: str, sets: tuple[str, ...]) -> str:
    options = [word for pair in sets for word in ("--set", pair)]
    done = helm(
        "template", "t", str(CHART), "--namespace", "ns", "-f", str(CHART / "ci" / f"{values}-values.yaml"), *options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(values: str, *sets: str) -> str:
    """What helm says where the chart does not render."""
    options = [word for pair in sets for word in ("--set", pair)]
    done = helm("template", "t", str(CHART), "-f", str(CHART / "ci" / f"{values}-values.yaml"), *options)
    assert done.returncode != 0
    return done.stderr


def named(objects: list[dict[str, Any]], kind: str, component: str) -> dict[str, Any]:
    return next(o for o in objects if o["kind"] == kind and o["metadata"]["name"] == f"t-tandem-{component}")


def pod_specs(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By name, of everything that starts pods."""
    found = {}
    for each in objects:
        spec = each.get("spec") or {}
        name = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "Pod":
            found[name] = spec
        elif each["kind"] == "InferenceService":
            found[name] = spec["predictor"]
        elif "template" in spec:
            found[name] = spec["template"]["spec"]
    return found
