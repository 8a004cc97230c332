"""Generate the parts of the chart that repeat other files: `make chart`.

helm/values.schema.json and the table in helm/README.md are generated from helm/values.yaml and its comments.
helm/templates/_processes.tpl and _engines.tpl are generated from the lists of processes and engines, _defaults.tpl from the names of
the values.
helm/files has copies of the alerts and the dashboard of deploy/, because a chart cannot read files outside its folder. The version
is pyproject.toml's.
"""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import yaml

from services.engine.registry import BACK_ENDS
from tandem.local.layout import OWN_PROCESSES

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm"
_PROCESSES_FILE = CHART / "templates" / "_processes.tpl"
_ENGINES_FILE = CHART / "templates" / "_engines.tpl"
_DEFAULTS_FILE = CHART / "templates" / "_defaults.tpl"

# Values whose keys the user or Kubernetes defines: the schema cannot list them.
_FREE = {
    "commonLabels", "podAnnotations", "podLabels", "files", "binaryFiles", "nodeSelector", "affinity", "podSecurityContext",
    "securityContext", "annotations", "labels", "lifecycle", "startup", "readiness", "liveness", "requests", "limits",
    "engineArgs", "issuerRef", "dnsConfig", "strategy", "behavior", "fallback",
}  # fmt: skip
_ENUMS = {
    "pullPolicy": ["Always", "IfNotPresent", "Never"],
    "mode": ["deployment", "kserve"],
    "deploymentMode": ["Standard", "RawDeployment"],
    "accelerator": ["nvidia", "none"],
    "kind": ["keda", "hpa"],
    "format": ["text", "json"],
    "dnsPolicy": ["", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
    "unhealthyPodEvictionPolicy": ["", "IfHealthyBudget", "AlwaysAllow"],
    "accessMode": ["", "ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"],
    "device": ["", "cuda", "cpu", "auto"],
    "sampler": [
        f"{parent}{sampler}"
        for parent in ("", "parentbased_")
        for sampler in ("always_on", "always_off", "traceidratio")
    ],
}
_SERVICE_TYPES = ["ClusterIP", "NodePort", "LoadBalancer"]
_ENGINES = {
    "insightGenerator": ["auto", *BACK_ENDS],
    "sufficiencyScorer": ["auto", *(name for name, engine in BACK_ENDS.items() if engine.scores)],
    "slmExecutor": ["auto", *BACK_ENDS],
}
_IMAGE_TAG = r"(?<=tandem:)\d+\.\d+\.\d+"
# Files that name the version, and where in them.
VERSIONED = {
    "helm/Chart.yaml": r"(?m)(?<=^version: ).+|(?<=^appVersion: ).+",
    "deploy/umbrella/Chart.yaml": r"(?m)(?<=^version: ).+|(?<=- name: tandem\n    version: ).+",
    "deploy/Dockerfile": _IMAGE_TAG,
    "docs/kubernetes.md": _IMAGE_TAG,
    "helm/README.md": _IMAGE_TAG,
}
_OWN_ENGINE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"  # module:function
_CACHES = ["shared", "pvc", "ephemeral", "hostPath", "emptyDir", "existingClaim"]
_PER_PAIR = ("worker", *_ENGINES)
_KEY = r"^[a-z]([a-z0-9-]{0,14}[a-z0-9])?$"  # part of the names of objects
_IMAGE = {
    "registry": "", "repository": "", "roles": False, "tag": "", "digest": "", "pullPolicy": "IfNotPresent", "cudaSuffix": "",
    "vllmSuffix": "",
}  # fmt: skip
_RESOURCES: dict[str, Any] = {"requests": {}, "limits": {}}


def schema(values: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema draft 7 of the values: every key is listed; a component has the keys of the defaults and its own."""
    components = {p.key: _component(p.key, values) for p in OWN_PROCESSES}
    properties = {name: components.get(name) or _schema(name, value) for name, value in values.items()}
    properties["modelCache"]["properties"]["type"] = {"type": "string", "enum": _CACHES}
    properties["pools"] = {"type": "object", "additionalProperties": _schema("pool", values["pools"]["llm"])}
    properties["profiles"] = {"type": ["array", "null"], "items": _pair(values, components)}
    properties["extraObjects"] = {"type": ["array", "null"], "items": {"type": ["object", "string"]}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the Tandem chart",
        **_object({}),
        "properties": {**properties, "global": {"type": "object"}},
    }


def _component(key: str, values: dict[str, Any]) -> dict[str, Any]:
    schema = _object(_merged(values["defaults"], values[key]))
    if "service" in values[key]:
        schema["properties"]["service"]["properties"]["type"] = {"type": "string", "enum": _SERVICE_TYPES}
    if key in _ENGINES:
        engine = schema["properties"]["engine"]
        engine["anyOf"] = [{"enum": _ENGINES[key]}, {"pattern": _OWN_ENGINE}]
    return schema


def _pair(values: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """An item of `profiles`."""
    schema = _object(values["profile"])
    schema["required"] = ["name"]
    schema["properties"]["key"] = {"type": "string", "pattern": _KEY}
    schema["properties"]["withdrawn"] = {"type": "boolean"}
    for key in _PER_PAIR:
        own = components[key]["properties"] | ({} if key == "worker" else {"sharedWith": {"type": "string"}})
        schema["properties"][key] = {**components[key], "properties": own}
    return schema


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, mapping by mapping, as the chart merges a component's values over the defaults."""
    both = dict(below)
    for name, value in above.items():
        old = both.get(name)
        both[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
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
    if name in _FREE:
        return {"type": ["object", "null"]}
    if name == "image" and not isinstance(value, str):
        return _object(_IMAGE)
    if name == "resources":
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
        return {"type": ["number", "string"], "pattern": "^0[.][0-9]+$", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
    if isinstance(value, int):
        return (
            {"type": ["integer", "string"], "minimum": 0}
            if name == "maxUnavailable"
            else {"type": "integer", "minimum": 0}
        )
    if isinstance(value, list):
        return {"type": ["array", "null"]}
    return {"type": "string"}


def processes() -> str:
    """The template with the fixed facts of each process: module, readiness service, and what it talks to."""
    rows = [
        f"{p.key}: {{module: {p.module}, ready: {p.health}, temporal: {str(p.uses_temporal).lower()}, "
        f"model: {str(p.runs_model).lower()}, isolated: {str(p.isolated).lower()}, http: {str(p.speaks_http).lower()}}}"
        for p in OWN_PROCESSES
    ]
    head = "{{/* Generated by `make chart` from tandem/local/layout.py: the fixed facts of each process. */}}"
    return "\n".join([head, '{{- define "tandem.processes" -}}', *rows, "{{- end }}"]) + "\n"


def engines() -> str:
    """The template with the engines that are APIs: their pods need no weights and no pool."""
    head = "{{/* Generated by `make chart` from services/engine/registry.py: the engines that are APIs. */}}"
    apis = " ".join(name for name, engine in BACK_ENDS.items() if engine.is_api)
    return "\n".join([head, '{{- define "tandem.apis" -}}', apis, "{{- end }}"]) + "\n"


def defaults(values: dict[str, Any]) -> str:
    """The template with the names of the values that are always there. With null a user may take away what is empty or free."""

    def always(names: dict[str, Any]) -> list[str]:
        return [
            name
            for name, value in names.items()
            if name not in _FREE and (value or isinstance(value, bool | int | float))
        ]

    rows = []
    for name in always(values):
        inner = values[name] if isinstance(values[name], dict) and name != "pools" else {}
        kept = [each for each in always(inner) if not isinstance(inner[each], list)]
        rows.append(f"{name}: [{', '.join(kept)}]")
    head = "{{/* Generated by `make chart` from values.yaml: the names of values that have a default. */}}"
    return "\n".join([head, '{{- define "tandem.defaults" -}}', *rows, "{{- end }}"]) + "\n"


def table(text: str) -> list[str]:
    """One row for each value that has a comment, in the order of the file."""
    rows, path, comment = [], [""] * 4, ""
    for line in text.splitlines():
        if found := re.match(r"\s*# (?:-- )?(.*)", line):
            comment = f"{comment} {found[1]}".strip() if not line.lstrip().startswith("# --") else found[1]
            continue
        if not (found := re.match(r"( *)([A-Za-z]\w*): ?(.*)", line)):
            comment = ""
            continue
        depth = len(found[1]) // 2
        path[depth] = found[2]
        if comment and "(" not in found[2]:
            default = found[3].strip() or "…"
            rows.append(f"| `{'.'.join(path[: depth + 1])}` | `{default}` | {comment} |")
        comment = ""
    return rows


def with_version(name: str, version: str) -> str:
    """The text of one of VERSIONED with this version in it."""
    return re.sub(VERSIONED[name], version, (ROOT / name).read_text())


def main() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name in VERSIONED:
        (ROOT / name).write_text(with_version(name, version))
    text = (CHART / "values.yaml").read_text()
    (CHART / "values.schema.json").write_text(json.dumps(schema(yaml.safe_load(text)), indent=1) + "\n")
    _PROCESSES_FILE.write_text(processes())
    _ENGINES_FILE.write_text(engines())
    _DEFAULTS_FILE.write_text(defaults(yaml.safe_load(text)))
    readme = (CHART / "README.md").read_text()
    head = readme.partition("<!-- values -->")[0]
    rows = ["| value | default | |", "|---|---|---|", *table(text)]
    (CHART / "README.md").write_text(f"{head}<!-- values -->\n" + "\n".join(rows) + "\n")
    (CHART / "files").mkdir(exist_ok=True)
    shutil.copy(next((ROOT / "deploy" / "alerts").glob("*.yaml")), CHART / "files" / "alerts.yaml")
    shutil.copy(next((ROOT / "deploy" / "dashboards").glob("*.json")), CHART / "files" / "dashboard.json")


if __name__ == "__main__":
    main()
