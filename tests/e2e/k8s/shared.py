"""What pods mount from this machine: packages, models, throw-away servers and the journal, as read-only volumes."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import Any

from filelock import FileLock

from tandem.local.programs import require_binary
from tandem.paths import REPOSITORY, models_folder
from tests.e2e.k8s.layout import Layout
from tests.e2e.k8s.values import PATHS
from tests.fakes import write_tokenizer


def shared_folder(layout: Layout) -> Path:
    return layout.folder / "shared"


def journal_folder(layout: Layout, namespace: str) -> Path:
    """Where the test engines of a release count every token."""
    return shared_folder(layout) / "journal" / namespace


def fill_shared(layout: Layout) -> None:
    """What pods mount besides torch and models: the throw-away servers, and the tests' engine. Pods may be reading
    it.
    """
    shared = shared_folder(layout)
    shared.mkdir(parents=True, exist_ok=True)
    with FileLock(shared / "filling.lock"):
        for name in ("redis-server", "temporal", "jaeger"):
            _update(require_binary(name), shared / "programs" / name)
        _update(REPOSITORY / "deploy" / "jaeger.yaml", shared / "programs" / "jaeger.yaml")
        _fill_tests(REPOSITORY, shared / "extra")
        _fill_tests(layout.folder / "previous", shared / "extra-before")
        for name in ("scripted-llm", "scripted-slm"):
            if not (shared / "scripted-models" / name).is_dir():
                write_tokenizer(shared / "scripted-models" / name)


def _fill_tests(repository: Path, folder: Path) -> None:
    """The tests' engine of this version, which runs in its images alone."""
    for source in (repository / "tests").rglob("*.py"):
        _update(source, folder / source.relative_to(repository))
    if not (folder / PATHS).is_file():
        (folder / PATHS).write_text("/site\n/extra\n")


def _update(source: Path, target: Path) -> None:
    """A reader of `target` finds the old or the new file, whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.stat().st_mtime != source.stat().st_mtime:
        partial = target.with_name(f".partial-{target.name}")
        shutil.copy2(source, partial)
        partial.rename(target)


def volumes(layout: Layout, namespace: str, *, scripted: bool) -> list[dict[str, Any]]:
    """The claims of a release, each with its volume."""
    shared = shared_folder(layout)
    folders = {
        "models": shared / ("scripted-models" if scripted else "models"),
        "site": Path(sysconfig.get_paths()["purelib"]),
        "extra": shared / "extra",
        "extra-before": shared / "extra-before",
        "programs": shared / "programs",
        "journal": journal_folder(layout, namespace),
    }
    if not scripted:
        folders["models"] = models_folder()
    return [
        each for name, folder in folders.items() for each in (volume(namespace, name, folder), _claim(namespace, name))
    ]


_SIZE, _MODES = {"storage": "1Gi"}, ["ReadWriteMany"]


def volume(namespace: str, name: str, folder: Path) -> dict[str, Any]:
    """`folder` for the claim `name`, whoever makes that; hostPath itself is forbidden to restricted pods."""
    return {
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": _name(namespace, name), "labels": {"tandem.dev/test": namespace}},
        "spec": {
            "capacity": _SIZE, "accessModes": _MODES, "storageClassName": "", "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": namespace, "name": name}, "persistentVolumeReclaimPolicy": "Retain",
        },
    }  # fmt: skip


def _claim(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": _MODES, "storageClassName": "", "volumeName": _name(namespace, name),
            "resources": {"requests": _SIZE},
        },
    }  # fmt: skip


def _name(namespace: str, name: str) -> str:
    return f"{namespace}-{name}"
