"""JSON Schema (draft 7) of the chart's values, from helm/values.yaml: every key is listed, and an unknown one is
refused by name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from services.models.engine.registry import BACK_ENDS
from tandem.local.layout import FURTHER_EXECUTORS, OWN_PROCESSES, Process

# Values whose keys the user or Kubernetes defines: the schema cannot list them.
FREE = {
    "commonLabels",
    "podAnnotations",
    "podLabels",
    "files",
    "binaryFiles",
    "nodeSelector",
    "affinity",
    "podSecurityContext",
    "securityContext",
    "annotations",
    "labels",
    "startup",
    "readiness",
    "requests",
    "limits",
    "engineArgs",
    "issuerRef",
    "strategy",
    "behavior",
    "fallback",
}
_ENUMS = {
    "pullPolicy": ["Always", "IfNotPresent", "Never"],
    "mode": ["deployment", "kserve"],
    "accelerator": ["nvidia", "none"],
    "kind": ["keda", "hpa"],
    "format": ["text", "json"],
    "protocol": ["grpc", "http/protobuf"],
    "level": ["DEBUG", "INFO", "WARNING", "ERROR"],
    "ipFamilyPolicy": ["", "SingleStack", "PreferDualStack", "RequireDualStack"],
    "unhealthyPodEvictionPolicy": ["", "IfHealthyBudget", "AlwaysAllow"],
    "accessMode": ["", "ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"],
    "device": ["", "cuda", "cpu", "auto"],
}
_SERVICE_TYPES = ["ClusterIP", "NodePort", "LoadBalancer"]
_MODELS = {
    "insightGenerator": ["auto", *BACK_ENDS],
    "sufficiencyScorer": ["auto", *(name for name, engine in BACK_ENDS.items() if engine.scores)],
    "slmExecutor": ["auto", *BACK_ENDS],
}
_EXPOSED = ["", "Ingress", "Gateway"]
# What the chart writes itself: a second one in the same mapping would be no YAML.
_OF_THE_CHART = {
    "extraPodSpec": [
        *("affinity", "automountServiceAccountToken", "containers", "enableServiceLinks", "imagePullSecrets"),
        *("initContainers", "nodeSelector", "priorityClassName", "resourceClaims", "restartPolicy", "runtimeClassName"),
        *("securityContext", "serviceAccountName", "terminationGracePeriodSeconds", "tolerations", "volumes"),
        *("topologySpreadConstraints", "hostNetwork", "hostPID", "hostIPC"),
    ],
    "spec": ["type", "ports", "selector", "ipFamilies", "ipFamilyPolicy"],
}
_OWN_ENGINE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"  # module:function
_CACHES = ["shared", "pvc", "ephemeral", "hostPath", "emptyDir", "existingClaim"]
_KEY = r"^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$"  # part of the names of objects
_IMAGE = {
    "registry": "",
    "repository": "",
    "roles": False,
    "tag": "",
    "digest": "",
    "pullPolicy": "IfNotPresent",
    "cudaSuffix": "",
}
_WIDTH = 120
_KEYWORDS = {"properties", "items", "additionalProperties", "allOf"}
_RESOURCES: dict[str, Any] = {"requests": {}, "limits": {}}


def schema(values: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema draft 7 of the values: every key is listed; a component has the keys of the defaults and its own."""
    components = {process.key: _component(process, values) for process in OWN_PROCESSES}
    properties = {name: components.get(name) or _schema(name, value) for name, value in values.items()}
    for key in _MODELS:
        properties[key] = {"allOf": [_of_pair(components[key])], "properties": {"sharedWith": False}}
    properties["modelDefaults"] = _object(merged(values["defaults"], values["modelDefaults"]))
    properties["smallModels"] = _small_models(components)
    properties["expose"]["properties"]["kind"] = {"type": "string", "enum": _EXPOSED}
    secrets = [*components, *(process.key for process in FURTHER_EXECUTORS.values())]
    properties["tls"]["properties"]["existingSecrets"] = _object(dict.fromkeys(secrets, ""))
    properties["modelCache"]["properties"]["type"] = {"type": "string", "enum": _CACHES}
    properties["pools"] = {"type": "object", "additionalProperties": _schema("pool", values["pools"]["llm"])}
    properties["profiles"] = {"type": ["array", "null"], "items": _pair(values, components)}
    properties["checkers"] = {
        "type": ["object", "null"],
        "patternProperties": {"^[a-z][a-z0-9_]*$": {"type": "string", "pattern": ":[0-9]+$"}},
        "additionalProperties": False,
    }
    properties["extraObjects"] = {"type": ["array", "null"], "items": {"type": ["object", "string"]}}
    return _with_definitions(
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Values of the Tandem chart",
            **_object({}),
            "properties": {**properties, "global": {"type": "object"}},
        }
    )


def _component(process: Process, values: dict[str, Any]) -> dict[str, Any]:
    key, below = process.key, values["defaults"]
    if process.runs_model:
        below = merged(below, values["modelDefaults"])
    schema = _object(merged(below, values[key]))
    if "service" in values[key]:
        schema["properties"]["service"]["properties"]["type"] = {"type": "string", "enum": _SERVICE_TYPES}
    if key in _MODELS:
        engine = schema["properties"]["engine"]
        engine["anyOf"] = [{"enum": _MODELS[key]}, {"pattern": _OWN_ENGINE}]
    if key == "sufficiencyScorer":
        del schema["properties"]["api"]
    if process.isolated or process.speaks_http:  # these scale by processor load
        schema["properties"]["autoscaling"]["properties"]["kind"] = {"enum": ["hpa"]}
    return schema


def _pair(values: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """An item of `profiles`."""
    schema = _object(values["profile"])
    schema["required"] = ["name"]
    schema["properties"]["key"] = {"type": "string", "pattern": _KEY}
    schema["properties"]["withdrawn"] = {"type": "boolean"}
    schema["properties"]["worker"] = components["worker"]
    schema["properties"]["smallModels"] = _small_models(components)
    for key in _MODELS:
        schema["properties"][key] = _of_pair(components[key])
    return schema


def _small_models(components: dict[str, Any]) -> dict[str, Any]:
    """A list with a block for each further small model; there are as many as roles."""
    block = _of_pair(components["slmExecutor"])
    block["properties"] = {name: each for name, each in block["properties"].items() if name != "enabled"}
    return {"type": ["array", "null"], "maxItems": len(FURTHER_EXECUTORS), "items": block}


def _of_pair(component: dict[str, Any]) -> dict[str, Any]:
    return {**component, "properties": {**component["properties"], "sharedWith": {"type": "string"}}}


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, mapping by mapping, as the chart merges a component's values over the defaults."""
    both = dict(below)
    for name, value in above.items():
        old = both.get(name)
        both[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _schema(name, value) for name, value in fields.items()},
    }


def _schema(name: str, value: Any) -> dict[str, Any]:
    if name in _ENUMS:
        return {"type": "string", "enum": _ENUMS[name]}
    if name in _OF_THE_CHART:
        return {"type": ["object", "null"], "properties": dict.fromkeys(_OF_THE_CHART[name], False)}
    if name in FREE:
        return {"type": ["object", "null"]}
    if name == "image" and not isinstance(value, str):
        return _object(_IMAGE)
    if name in ("resources", "pullResources"):
        return _object(_RESOURCES)
    if name == "minAvailable":
        return {"type": ["integer", "string"]}
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, bool):
        return {"type": "boolean"}
    if name == "seconds":
        return {"enum": [0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600]}
    if isinstance(value, float):
        return {"type": ["number", "string"], "pattern": "^0[.][5-9][0-9]*$", "minimum": 0.5, "exclusiveMaximum": 1}
    if isinstance(value, int):
        return {"type": "integer", "minimum": 0}
    if isinstance(value, list):
        return {"type": ["array", "null"]}
    return {"type": "string"}


def _with_definitions(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, in which objects with keys that are there several times are defined once, by the name of their
    value.
    """
    counts = Counter(json.dumps(node) for node in _nodes(schema))
    names: dict[str, str] = {}
    definitions: dict[str, Any] = {}

    def folded(node: Any, name: str) -> Any:
        if not isinstance(node, dict):
            return [folded(each, name) for each in node] if isinstance(node, list) else node
        text = json.dumps(node)
        if "properties" not in node or counts[text] < 2:
            return {key: folded(value, name if key in _KEYWORDS else key) for key, value in node.items()}
        if text not in names:
            names[text] = name if name not in definitions else f"{name}{len(definitions)}"
            definitions[names[text]] = {}  # its place, before those of what is in it
            definitions[names[text]] |= {key: folded(value, name) for key, value in node.items()}
        return {"$ref": f"#/definitions/{names[text]}"}

    properties = folded(schema["properties"], "")
    return {**schema, "properties": properties, "definitions": definitions}


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _nodes(each)


def as_text(node: Any, indent: str = "") -> str:
    """JSON with what fits into a line in one line, to be read in a diff."""
    line = json.dumps(node)
    if len(indent) + len(line) <= _WIDTH or not isinstance(node, dict):
        return line
    inner = f"{indent} "
    rows = [f"{inner}{json.dumps(key)}: {as_text(value, inner)}" for key, value in node.items()]
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}" + ("" if indent else "\n")
