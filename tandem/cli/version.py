"""tandem version"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from tandem.cli.output import JsonFlag, console, print_json
from tandem.method.names import DISTRIBUTION

_PARTS = ("grpcio", "protobuf", "kserve", "temporalio", "redis", "torch", "transformers", "opentelemetry-sdk")


def version(json: JsonFlag = False) -> None:
    """Print the versions of Tandem and its main dependencies."""
    versions = {"tandem": version_of(DISTRIBUTION), "python": platform.python_version()}
    for part in _PARTS:
        try:
            versions[part] = version_of(part)
        except PackageNotFoundError:
            versions[part] = "not installed"
    if json:
        print_json(versions)
        return
    for name, number in versions.items():
        console.print(f"{name:18} {number}")
