"""An upgrade of a release: what of it restarts, and which values of the version before it takes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.chart import CHART, CI, ROOT, helm, needs_helm, render

pytestmark = needs_helm
BEFORE = (
    ROOT / "tests" / "charts" / "9f64aea"
)  # values.yaml and ci files of the commit that tests/e2e/k8s upgrades from
GIVEN = sorted(path.name for path in BEFORE.glob("*-values.yaml"))


def templates(values: str, *sets: str) -> dict[str, str]:
    """What a change of restarts pods, by the object that has them."""
    found = {}
    for each in render(values, *sets):
        spec = each.get("spec") or {}
        pods = spec.get("template") or spec.get("predictor")
        if pods:
            found[f"{each['kind']}/{each['metadata']['name']}"] = json.dumps(pods, sort_keys=True)
    return found


@pytest.mark.parametrize("values", ["gpu", "kserve", "minimal"])
def test_another_version_of_the_chart_restarts_no_pod_whose_image_is_the_same(values: str, tmp_path: Path) -> None:
    chart = Path(shutil.copytree(CHART, tmp_path / "tandem"))
    facts = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**facts, "version": "9.9.9", "appVersion": "9.9.9"}))
    ours = ("image.tag=same", *(("modelCache.image.tag=same",) if values == "gpu" else ()))
    words = [word for each in ours for word in ("--set", each)]
    done = helm("template", "t", str(chart), "-n", "ns", "-f", str(CHART / "ci" / f"{values}-values.yaml"), *words)
    assert done.returncode == 0, done.stderr
    for each in filter(None, yaml.safe_load_all(done.stdout)):
        spec, name = each.get("spec") or {}, f"{each['kind']}/{each['metadata']['name']}"
        if pods := spec.get("template") or spec.get("predictor"):
            assert json.dumps(pods, sort_keys=True) == templates(values, *ours)[name], name
            assert each["metadata"]["labels"]["helm.sh/chart"].endswith("9.9.9")


@pytest.mark.parametrize("given", sorted(set(GIVEN) - {"external-secrets-values.yaml"}))
def test_values_of_the_version_before_that_are_values_still_are_taken_with_this_charts_defaults(given: str) -> None:
    """What `helm upgrade --reset-then-reuse-values` renders. external-secrets names a value that is none any more."""
    done = helm("template", "t", str(CHART), "-f", str(BEFORE / given), "--set", "image.registry=registry.example.com")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("given", GIVEN)
def test_the_defaults_of_the_version_before_are_refused_by_the_option_that_has_others(
    given: str, tmp_path: Path
) -> None:
    """What `helm upgrade --reuse-values` renders: the old defaults in the place of this chart's."""
    chart = Path(shutil.copytree(CHART, tmp_path / "tandem"))
    shutil.copy(BEFORE / "values.yaml", chart / "values.yaml")
    done = helm("template", "t", str(chart), "-f", str(BEFORE / given), "--skip-schema-validation")
    assert "--reset-then-reuse-values" in done.stderr


def removed() -> list[str]:
    """The values in the first column of the chart's table of what is written instead of them."""
    table = (CHART / "README.md").read_text().partition("## From 0.2 to 0.3")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("name", removed())
def test_a_value_that_is_none_any_more_is_refused_by_name(name: str) -> None:
    outer, _, last = name.rpartition(".")
    done = helm("template", "t", str(CHART), "-f", str(CHART / "ci" / "gpu-values.yaml"), "--set", f"{name}=1")
    place = f"/{outer.replace('.', '/')}" if outer else ""
    assert f"at '{place}'" in done.stderr
    assert f"'{last}' not allowed" in done.stderr


@pytest.mark.parametrize("values", CI)
def test_no_value_is_missing_from_its_own_chart(values: str) -> None:
    render(values)


def test_no_page_tells_to_keep_the_defaults_of_the_version_before() -> None:
    for page in (*ROOT.glob("docs/**/*.md"), ROOT / "helm" / "README.md", ROOT / "README.md"):
        assert "upgrade tandem ./helm --reuse-values" not in page.read_text(), page
