"""Other projects' manifests, changed so that they run on the test cluster: their namespace, images and arguments."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

_OF_THE_CLUSTER = {"ClusterRole", "ClusterRoleBinding", "Namespace", "APIService", "CustomResourceDefinition"}


def manifests(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The objects of these files, one file after the other."""
    return [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]


def in_namespace(objects: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """The same objects and the subjects of their bindings in `namespace`."""
    found = copy.deepcopy(objects)
    for each in found:
        if each["kind"] not in _OF_THE_CLUSTER:
            each["metadata"]["namespace"] = namespace
        for subject in each.get("subjects", []):
            subject["namespace"] = namespace
    return found


def with_images(
    objects: list[dict[str, Any]], images: Mapping[str, str], args: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The same objects, the Deployments of these names with images that the nodes have, `args` after their own
    arguments, and no limits.
    """
    return [
        _with(each, images[each["metadata"]["name"]], args) if each["kind"] == "Deployment" else each
        for each in objects
    ]


def _with(deployment: dict[str, Any], image: str, args: Sequence[str]) -> dict[str, Any]:
    found = copy.deepcopy(deployment)
    [container] = found["spec"]["template"]["spec"]["containers"]
    kept = [
        word for word in container.get("args", []) if word.partition("=")[0] not in {a.partition("=")[0] for a in args}
    ]
    container |= {"image": image, "imagePullPolicy": "Never", "args": [*kept, *args], "resources": {}}
    return found
