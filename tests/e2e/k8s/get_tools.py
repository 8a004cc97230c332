"""kubectl, helm and promtool into the cache folder: `make tools TOOLS=k8s`. What is there is kept.

promtool comes out of Debian's package `prometheus`; without it, tests of the alerts are skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tandem.paths import programs_folder
from tests.kubernetes_tools import install, program


def main() -> None:
    if missing := [tool for tool in (program("kubectl"), program("helm")) if not tool.is_file()]:
        names = ", ".join(map(str, missing))
        raise SystemExit(f"there is no wheel with kubectl and helm for this machine: put yours at {names}")
    print(f"kubectl and helm are in {programs_folder()}")
    _get_promtool(programs_folder())


def _get_promtool(folder: Path) -> None:
    if (folder / "promtool").is_file() or not shutil.which("apt-get"):
        return
    with tempfile.TemporaryDirectory() as temporary:
        done = subprocess.run(["apt-get", "download", "--quiet", "prometheus"], cwd=temporary, check=False)
        if done.returncode:
            print("promtool: apt-get finds no package `prometheus`; run apt-get update", file=sys.stderr)
            return
        [package] = Path(temporary).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, temporary], check=True)
        install(Path(temporary, "usr/bin/promtool").read_bytes(), folder / "promtool")
    print(f"promtool is in {folder}")


if __name__ == "__main__":
    main()
