"""A release has one version, which pyproject.toml says; `make chart` writes it wherever else it stands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from deploy import chart, release
from workflows.worker import WorkerSettings

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


CHANGES = "# Changelog\n\n## [Unreleased]\n\n### Added\n- One.\n\n## [0.1.0] - 2026-11-30\n\nThe first.\n"


def test_a_release_is_what_was_unreleased_under_its_version_and_day() -> None:
    text = release.released(CHANGES, "0.2.0", "2026-12-24")
    assert text == CHANGES.replace("## [Unreleased]\n", "## [Unreleased]\n\n## [0.2.0] - 2026-12-24\n")


@pytest.mark.parametrize(
    ("version", "changes", "said"),
    [
        ("0.1.0", CHANGES, "not above the last release, 0.1.0"),
        ("0.0.9", CHANGES, "not above"),
        ("1.0", CHANGES, "no version: X.Y.Z"),
        ("0.2.0", CHANGES.replace("### Added\n- One.\n\n", ""), "nothing is unreleased"),
    ],
)
def test_no_release_is_cut_of_nothing_or_below_the_last(version: str, changes: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        release.released(changes, version, "2026-12-24")


def test_one_workflow_checks_each_change_and_publishes_each_tag_by_the_scripts_that_any_host_can_run() -> None:
    [file] = (ROOT / ".github/workflows").iterdir()
    text = file.read_text()
    jobs = yaml.safe_load(text)["jobs"]
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert ".ci/run" in runs["check"]
    assert any(run.startswith(".ci/release ") for run in runs["release"])
    assert "refs/tags/v" in jobs["release"]["if"]
    published = (ROOT / ".ci/release").read_text()
    assert all(word in published for word in ("make package", "make security", "make images", "helm package"))


def test_a_worker_is_the_build_of_its_images_commit_where_that_is_known() -> None:
    for commit, build in (("0123456789ab", "0123456789ab"), ("", "of-the-tag")):
        version = WorkerSettings(profile="any", build="of-the-tag", commit=commit).version
        assert version is not None
        assert version.build == build
    assert WorkerSettings(profile="any", commit="0123456789ab").version is None  # worker.versioning is off
    images = (ROOT / "deploy/Dockerfile").read_text()
    stages = {stage.partition("\n")[0].split()[-1] for stage in images.split("\nFROM ") if "ENV TANDEM_COMMIT" in stage}
    assert stages == {"worker", "all"}
    assert "COMMIT = COMMIT" in (ROOT / "deploy/docker-bake.hcl").read_text()
    assert "COMMIT=$(COMMIT)" in (ROOT / "Makefile").read_text()
