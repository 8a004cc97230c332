"""The containerd of each node: its images, and the end of its containers."""

from __future__ import annotations

import contextlib
import subprocess

from tests.e2e.k8s.layout import Layout, Node, call


def ctr(layout: Layout, node: Node, *arguments: str) -> str:
    """What it prints. Raises CalledProcessError."""
    return call(*_words(layout, node, *arguments))


def load_images(layout: Layout, node: Node) -> None:
    """Every archive of the image folder that this node does not have in this version."""
    for archive in sorted((layout.folder / "img").glob("*.tar")):
        state = archive.stat()
        stamp = layout.folder / "ctd" / f".{node.name}-{archive.stem}-{state.st_mtime_ns}-{state.st_size}"
        if not stamp.exists():
            ctr(layout, node, "-n", "k8s.io", "images", "import", str(archive))
            stamp.touch()


def load_from_docker(layout: Layout, image: str) -> None:
    """As `kind load docker-image` does: every node has it."""
    archive = layout.run / "image.tar"
    call("docker", "save", "--output", str(archive), image)
    for node in layout.nodes:
        ctr(layout, node, "-n", "k8s.io", "images", "import", str(archive))
    archive.unlink()


def end_containers(layout: Layout, node: Node) -> None:
    """All of a node that is going down; what cannot be ended goes with the node."""
    with contextlib.suppress(subprocess.CalledProcessError):
        for task in ctr(layout, node, "-n", "k8s.io", "tasks", "ls", "-q").split():
            _try(layout, node, "-n", "k8s.io", "tasks", "rm", "-f", task)
        for container in ctr(layout, node, "-n", "k8s.io", "containers", "ls", "-q").split():
            _try(layout, node, "-n", "k8s.io", "containers", "rm", container)


def _try(layout: Layout, node: Node, *arguments: str) -> None:
    subprocess.run(_words(layout, node, *arguments), check=False, capture_output=True)


def _words(layout: Layout, node: Node, *arguments: str) -> list[str]:
    return ["ctr", "-a", f"{layout.run}/{node.name}/containerd.sock", *arguments]
