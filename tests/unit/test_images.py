"""The images: what `make images` builds is what the Dockerfile has and what the chart's pods run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart import COMPONENTS, MODELS, ROOT, needs_helm, pod_specs, render

BAKE = (ROOT / "deploy/docker-bake.hcl").read_text()
STAGES = set(re.findall(r"^FROM \S+ AS (\S+)$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE))


def blocks() -> dict[str, str]:
    return dict(re.findall(r'^target "([\w-]+)" \{(.*?)^\}', BAKE, re.MULTILINE | re.DOTALL))


def built() -> set[str]:
    """Repositories with the ends of their tags, as the file's targets name them."""
    found = set()
    for text in blocks().values():
        roles = re.findall(r'"([\w-]+)"', text.partition("matrix")[2].partition("]")[0]) or [""]
        for suffix, end in re.findall(r'names\("([^"]*)", "([^"]*)"\)', text):
            found |= {f"tandem{suffix.replace('${role}', role)}:{end}" for role in roles}
    return found


def test_every_target_is_a_stage_of_the_dockerfile() -> None:
    named = {name for text in blocks().values() for name in re.findall(r'^  target += "([\w-]+)"', text, re.MULTILINE)}
    roles = {
        name
        for text in blocks().values()
        for name in re.findall(r'"([\w-]+)"', text.partition("matrix")[2].partition("]")[0])
    }
    assert named | roles <= STAGES
    assert roles == set(COMPONENTS)


def test_every_group_names_targets_that_there_are() -> None:
    for names in re.findall(r'^group "[\w-]+" \{ targets = \[(.*)\] \}', BAKE, re.MULTILINE):
        assert set(re.findall(r'"([\w-]+)"', names)) <= set(blocks())


@needs_helm
@pytest.mark.parametrize("values", ["gpu", "deepseek", "edge", "minimal"])
def test_every_image_of_the_chart_is_built(values: str) -> None:
    for roles in ("true", "false"):
        for name, spec in pod_specs(
            render(values, f"image.roles={roles}", "image.tag=T", "image.repository=tandem")
        ).items():
            for container in [*spec["containers"], *spec.get("initContainers", [])]:
                repository, _, tag = container["image"].rpartition("/")[2].partition(":")
                if repository.startswith("tandem"):
                    assert f"{repository}:{tag.removeprefix('T')}" in built(), f"{name}: {container['image']}"


def test_models_have_their_weights_elsewhere_and_every_role_its_command() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    for component in COMPONENTS:
        assert re.search(rf'AS {component}\nCMD \["python", "-m", "\w+\.\w+"\]', dockerfile), component
    assert set(MODELS) <= STAGES


def test_make_tags_what_the_chart_runs_without_a_tag_of_its_own() -> None:
    chart = yaml.safe_load((ROOT / "helm/Chart.yaml").read_text())
    for words in (["images", "PUSH=registry.example.com"], ["images", "KIND=kind"]):
        said = subprocess.run(
            ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert re.findall(r"\bTAG=(.*?) ", said) == [chart["appVersion"]]


def test_make_says_what_it_needs_where_there_is_no_builder(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 1\n")
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["make", "images"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "images need docker with its plugin buildx" in done.stderr


def test_scripts_of_ci_are_valid() -> None:
    for script in (ROOT / ".ci").iterdir():
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
