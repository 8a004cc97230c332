"""Write a release's version and day: `python -m deploy.release X.Y.Z`, which `make release VERSION=X.Y.Z` calls.

Into pyproject.toml, which every other file has the version from (`make chart`), and into CHANGELOG.md, whose Unreleased
becomes the release.
"""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_VERSION = r"\d+\.\d+\.\d+"


def released(changelog: str, version: str, day: str) -> str:
    """The changelog with what was unreleased under the version. Raises ValueError where there is nothing, or the
    version is none.
    """
    if not re.fullmatch(_VERSION, version):
        raise ValueError(f"VERSION={version} is no version: X.Y.Z")
    last = next(iter(re.findall(rf"^## \[({_VERSION})\]", changelog, re.MULTILINE)), "0.0.0")
    if _number(version) <= _number(last):
        raise ValueError(f"VERSION={version} is not above the last release, {last}")
    head, title, rest = changelog.partition("## [Unreleased]\n")
    if not title or not rest.partition("\n## [")[0].strip():
        raise ValueError("CHANGELOG.md: nothing is unreleased")
    return f"{head}{title}\n## [{version}] - {day}\n{rest}"


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def main() -> None:
    version = sys.argv[1]
    changelog, project = ROOT / "CHANGELOG.md", ROOT / "pyproject.toml"
    try:
        text = released(changelog.read_text(), version, f"{datetime.now(UTC):%Y-%m-%d}")
    except ValueError as error:
        sys.exit(str(error))
    old = tomllib.loads(project.read_text())["project"]["version"]
    changelog.write_text(text)
    project.write_text(project.read_text().replace(f'version = "{old}"', f'version = "{version}"', 1))


if __name__ == "__main__":
    main()
