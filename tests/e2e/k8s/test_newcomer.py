"""The words of docs/kubernetes.md under "A trial", as they stand there: an image is built and loaded, the chart
installed, tested and asked.

Needs Docker with buildx, and PYTHON_IMAGE where Docker's registry cannot be reached. The images of Redis, Temporal and
Jaeger are made of this machine's programs, under the names that the chart has for them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tandem import Client
from tandem.local.programs import require_binary
from tandem.paths import REPOSITORY, programs_folder
from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.containers import load_from_docker
from tests.e2e.k8s.release import Release
from tests.e2e.k8s.way_out import way_out

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("docker") is None, reason="needs Docker, with which a newcomer builds images"),
]
# As these projects' own images start them.
STAND_INS = {
    "redis": "RUN printf '#!/bin/sh\\nexec /program \"$@\" --protected-mode no\\n' > /usr/local/bin/redis-server && "
    "chmod +x /usr/local/bin/redis-server\n",
    "temporal": "RUN ln -s /program /usr/local/bin/temporal\n",
    "jaeger": 'ENV JAEGER_LISTEN_HOST=0.0.0.0\nENTRYPOINT ["/program"]\n',
}
PROGRAMS = {"redis": "redis-server"}


def words() -> list[str]:
    """Those that a cluster of any kind takes: without Kind's own, and the port, which the test has in another way."""
    page = (REPOSITORY / "docs/kubernetes.md").read_text()
    [block] = re.findall(r"^## A trial\n.*?```sh\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    lines = [line.partition("#")[0].strip() for line in block.splitlines()]
    return [line for line in lines if not line.startswith(("kind create", "kubectl port-forward"))]


@pytest.fixture
def public_images(cluster: Cluster, tmp_path: Path) -> None:
    demo = yaml.safe_load((REPOSITORY / "helm/values.yaml").read_text())["demo"]
    base = os.environ.get("PYTHON_IMAGE", "docker.io/library/debian:bookworm-slim")
    for name, more in STAND_INS.items():
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(require_binary(PROGRAMS.get(name, name)), folder / "program")
        (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY program /program\n{more}")
        image = demo[name]["image"]
        subprocess.run(["docker", "build", "--quiet", "--tag", image, folder], check=True, capture_output=True)
        load_from_docker(cluster, image)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, tmp_path / "tandem"], check=True)
    return tmp_path / "tandem"


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Release]:
    """What the words install, in the namespace that a newcomer's kubeconfig names."""
    release = Release(cluster, "newcomer")
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": release.namespace}}])
    yield release
    release.remove(waits=True)


@pytest.fixture
def kubeconfig(cluster: Cluster, release: Release, tmp_path: Path) -> Path:
    file = Path(shutil.copy(cluster.kubeconfig, tmp_path / "kubeconfig"))
    named = (f"--kubeconfig={file}", f"--namespace={release.namespace}")
    cluster.kubectl("config", "set-context", "--current", *named)
    return file


def type_in(folder: Path, line: str, kubeconfig: Path) -> None:
    """Into a shell on the first node."""
    environment = {
        **os.environ,
        "PATH": f"{programs_folder()}:{os.environ['PATH']}",
        "KUBECONFIG": str(kubeconfig),
        "LOAD": f"{sys.executable} -m tests.e2e.k8s load",
    }
    command = ["nsenter", "--net=/run/netns/kn1", "bash", "-euo", "pipefail", "-c", line]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}"


@pytest.mark.usefixtures("public_images")
def test_the_words_of_the_page_build_load_install_and_test_a_release_that_answers(
    cluster: Cluster, release: Release, clone: Path, kubeconfig: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    took = {}
    with way_out(cluster):
        for line in words():
            began = time.monotonic()
            type_in(clone, line, kubeconfig)
            took[line] = time.monotonic() - began
        with Client(release.gateway) as client:
            assert "42" in client.ask("What is 17 + 25?").answer
    with capsys.disabled():
        print("", *(f"{seconds:6.0f} s  {line}" for line, seconds in took.items()), sep="\n")
