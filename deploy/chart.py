"""Write what of the chart is made from other files: `make chart`.

helm/values.schema.json and the table in helm/README.md come from helm/values.yaml and its comments; helm/files are the
alerts and the dashboard of deploy/, which a chart cannot read from outside its folder.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "helm"
COMPONENTS = ("gateway", "worker", "insightGenerator", "sufficiencyScorer", "slmExecutor")

# Values whose keys are the user's or Kubernetes' own: no list of names could be complete.
_FREE = {
    "commonLabels", "podAnnotations", "files", "binaryFiles", "nodeSelector", "affinity", "podSecurityContext",
    "securityContext", "annotations", "labels", "lifecycle", "startup", "readiness", "liveness", "requests", "limits",
}  # fmt: skip
_ENUMS = {
    "pullPolicy": ["Always", "IfNotPresent", "Never"],
    "mode": ["deployment", "kserve"],
    "accelerator": ["nvidia", "none"],
    "kind": ["keda", "hpa"],
    "pool": ["llm", "slm"],
    "accessMode": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"],
}
_IMAGE = {"repository": "", "tag": "", "digest": "", "pullPolicy": "IfNotPresent", "cudaSuffix": ""}
_RESOURCES: dict[str, Any] = {"requests": {}, "limits": {}}


def schema(values: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema draft 7 of the values: every key known by name, every component like the defaults plus its own keys."""
    properties: dict[str, Any] = {}
    for name, value in values.items():
        if name in COMPONENTS:
            properties[name] = _object({**values["defaults"], **value})
        else:
            properties[name] = _schema(name, value)
    cache = properties["modelCache"]["properties"]["type"]
    cache["enum"] = ["pvc", "existingClaim", "hostPath", "emptyDir"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the Tandem chart",
        **_object({}),
        "properties": {**properties, "global": {"type": "object"}},
    }


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
    if isinstance(value, dict):
        return _object(value)
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return (
            {"type": ["integer", "string"], "minimum": 0}
            if name == "maxUnavailable"
            else {"type": "integer", "minimum": 0}
        )
    if isinstance(value, list):
        return {"type": ["array", "null"]}
    return {"type": "string"}


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


def main() -> None:
    text = (CHART / "values.yaml").read_text()
    (CHART / "values.schema.json").write_text(json.dumps(schema(yaml.safe_load(text)), indent=1) + "\n")
    readme = (CHART / "README.md").read_text()
    head = readme.partition("<!-- values -->")[0]
    rows = ["| value | default | |", "|---|---|---|", *table(text)]
    (CHART / "README.md").write_text(f"{head}<!-- values -->\n" + "\n".join(rows) + "\n")
    (CHART / "files").mkdir(exist_ok=True)
    shutil.copy(next((ROOT / "deploy" / "alerts").glob("*.yaml")), CHART / "files" / "alerts.yaml")
    shutil.copy(next((ROOT / "deploy" / "dashboards").glob("*.json")), CHART / "files" / "dashboard.json")


if __name__ == "__main__":
    main()
