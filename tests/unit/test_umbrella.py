"""The example that brings Valkey, Temporal and a collector: its values fit this chart, and its addresses the other
charts' names.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.local.programs import TEMPORAL_FLAGS
from tests.chart import CHART, ROOT, helm, needs_helm

UMBRELLA = ROOT / "deploy" / "umbrella"


@pytest.fixture
def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((UMBRELLA / "values.yaml").read_text())
    return found


@pytest.fixture
def objects(values: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """What its values, and the registry that they ask for, make of this chart, by Kind/name."""
    done = rendered(values, tmp_path, "--set", "image.registry=registry.example.com/ai")
    assert done.returncode == 0, done.stderr
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(done.stdout) if each}


def rendered(values: dict[str, Any], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "values.yaml").write_text(yaml.safe_dump(values["tandem"]))
    return helm("template", "t", str(CHART), "-f", str(folder / "values.yaml"), *options)


@needs_helm
def test_its_values_render_this_chart(objects: dict[str, Any]) -> None:
    assert "Deployment/t-tandem-gateway" in objects


@needs_helm
def test_the_registry_is_asked_for_and_its_files_say_so(values: dict[str, Any], tmp_path: Path) -> None:
    assert values["tandem"]["image"] == {"registry": ""}
    assert "image.registry is needed" in rendered(values, tmp_path).stderr
    assert "--set tandem.image.registry=REGISTRY" in (UMBRELLA / "Chart.yaml").read_text()


@needs_helm
def test_new_requests_are_directed_after_temporals_own_hooks_have_created_the_namespace(
    objects: dict[str, Any],
) -> None:
    annotations = objects["Job/t-tandem-setup"]["metadata"]["annotations"]
    assert int(annotations["helm.sh/hook-weight"]) > 0  # that of theirs


def test_its_dependencies_are_this_chart_and_those_that_it_has_values_for(values: dict[str, Any]) -> None:
    chart = yaml.safe_load((UMBRELLA / "Chart.yaml").read_text())
    assert {each["name"] for each in chart["dependencies"]} == set(values)
    [own] = [each for each in chart["dependencies"] if each["name"] == "tandem"]
    assert own["version"] == yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    assert (UMBRELLA / own["repository"].removeprefix("file://")).resolve() == CHART
    assert not (UMBRELLA / "charts").exists()


def test_its_addresses_are_the_names_of_the_other_charts_services(values: dict[str, Any]) -> None:
    own = values["tandem"]
    assert own["temporal"]["address"] == f"{values['temporal']['fullnameOverride']}-frontend:7233"
    assert own["otel"]["endpoint"] == f"http://{values['opentelemetry-collector']['fullnameOverride']}:4317"


def test_temporal_has_the_flags_that_the_local_stack_runs_with(values: dict[str, Any]) -> None:
    given = dict(pair.split("=") for pair in TEMPORAL_FLAGS if "=" in pair and "." in pair)
    for flag, [row] in values["temporal"]["server"]["dynamicConfig"].items():
        assert json.dumps(row["value"]) == given[flag]
