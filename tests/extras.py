"""What an extra of pyproject.toml installs, and a Python that has no more: `environment_of("local-api")`."""

from __future__ import annotations

import os
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_OWN = canonicalize_name(_PROJECT["name"])


def installed_by(extra: str) -> set[str]:
    """Canonical names of the distributions, this project's own among them."""
    found: set[tuple[str, str]] = set()
    pending = [(_OWN, ""), (_OWN, extra)]
    while pending:
        name, wanted = pending.pop()
        if (name, wanted) in found:
            continue
        found.add((name, wanted))
        for needed in _needed_by(name, wanted):
            needed_name = canonicalize_name(needed.name)
            pending += [(needed_name, each) for each in ("", *needed.extras)]
    return {name for name, _ in found}


def environment_of(extra: str) -> dict[str, str]:
    """Variables with which a Python imports nothing that `extra` does not install."""
    here = installed_by(extra)
    owners = packages_distributions()
    missing = [module for module, names in owners.items() if not here & {canonicalize_name(name) for name in names}]
    paths = [str(ROOT / "tests" / "lean"), os.environ.get("PYTHONPATH", "")]
    return {"TANDEM_TESTS_MISSING": ",".join(missing), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _needed_by(name: str, extra: str) -> list[Requirement]:
    if name == _OWN:
        lines = _PROJECT["optional-dependencies"][extra] if extra else _PROJECT["dependencies"]
        return [needed for needed in map(Requirement, lines) if needed.marker is None or needed.marker.evaluate()]
    try:
        needed = [Requirement(line) for line in requires(name) or ()]
    except PackageNotFoundError:  # a requirement of another platform
        return []
    return [each for each in needed if each.marker is None or each.marker.evaluate({"extra": extra})]
