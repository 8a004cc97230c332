"""The example that brings Valkey, Temporal and a collector: its values fit this chart, and its addresses the other charts' names."""

from __future__ import annotations

import json
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
    """What its values make of this chart, by Kind/name."""
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values["tandem"]))
    done = helm("template", "t", str(CHART), "-f", str(tmp_path / "values.yaml"))
    assert done.returncode == 0, done.stderr
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in yaml.safe_load_all(done.stdout) if each}


@needs_helm
def test_its_values_render_this_chart(objects: dict[str, Any]) -> None:
    assert "Deployment/t-tandem-gateway" in objects


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
