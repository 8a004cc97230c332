"""Kubernetes secrets, as objects to apply."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any


def secret(name: str, namespace: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """One that pods can mount: a file of each key."""
    data = {file: b64encode(text).decode() for file, text in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}
