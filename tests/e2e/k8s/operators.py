"""Other projects' manifests, changed so that they run on the test cluster: their namespace, images and arguments."""

from __future__ import annotations

import copy
from typing import Any

_OF_THE_CLUSTER = {"ClusterRole", "ClusterRoleBinding", "Namespace", "APIService", "CustomResourceDefinition"}


def in_namespace(objects: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """The same objects and the subjects of their bindings in `namespace`."""
    found = copy.deepcopy(objects)
    for each in found:
        if each["kind"] not in _OF_THE_CLUSTER:
            each["metadata"]["namespace"] = namespace
        for subject in each.get("subjects", []):
            subject["namespace"] = namespace
    return found


def deployment_with(deployment: dict[str, Any], *, image: str, args: list[str]) -> dict[str, Any]:
    """The deployment with an image that the nodes have, these arguments after its own, and no limits."""
    found = copy.deepcopy(deployment)
    [container] = found["spec"]["template"]["spec"]["containers"]
    kept = [
        word for word in container.get("args", []) if word.partition("=")[0] not in {a.partition("=")[0] for a in args}
    ]
    container |= {"image": image, "imagePullPolicy": "Never", "args": [*kept, *args], "resources": {}}
    return found
