"""A release has one version, which pyproject.toml says; `make chart` writes it wherever else it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from deploy import chart

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
IMAGE = re.compile(r"tandem:(\d+\.\d+\.\d+)")


@pytest.mark.parametrize("name", chart.VERSIONED)
def test_every_file_that_names_the_version_has_the_projects(name: str) -> None:
    assert (ROOT / name).read_text() == chart.with_version(name, VERSION), "run `make chart`"


def test_a_new_version_reaches_charts_their_images_and_the_commands_that_build_them() -> None:
    own, umbrella = (
        yaml.safe_load(chart.with_version(f"{folder}/Chart.yaml", "9.8.7")) for folder in ("helm", "deploy/umbrella")
    )
    assert (own["version"], own["appVersion"], umbrella["version"]) == ("9.8.7",) * 3
    assert {each["name"]: each["version"] for each in umbrella["dependencies"]}["tandem"] == "9.8.7"
    assert umbrella["dependencies"][1]["version"] != "9.8.7"
    for name in ("deploy/Dockerfile", "docs/kubernetes.md", "helm/README.md"):
        assert set(IMAGE.findall(chart.with_version(name, "9.8.7"))) == {"9.8.7"}


def test_no_other_file_of_chart_images_or_documents_names_a_version_of_the_image() -> None:
    files = [
        f
        for folder in ("helm", "deploy", "docs")
        for f in (ROOT / folder).rglob("*")
        if f.suffix in {".md", ".yaml", ".sh", ""}
    ]
    naming = {str(f.relative_to(ROOT)) for f in files if f.is_file() and IMAGE.search(f.read_text())}
    assert naming <= set(chart.VERSIONED)


def test_the_changelog_begins_with_what_is_unreleased_and_then_this_version() -> None:
    releases = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == ("Unreleased", "")
    number, day = releases[1]
    assert number == VERSION
    assert day
