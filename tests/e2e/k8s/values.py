"""The values with which a release is installed: small, on fake GPUs, with this machine's packages and models
mounted.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from deploy.chart_schema import merged
from tandem.paths import REPOSITORY

NAME = "tandem"
_SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "8Gi"}}
_PROBES = {"startup": {"periodSeconds": 1, "failureThreshold": 600}, "readiness": {"periodSeconds": 1}}
_JAEGER = {  # what deploy/jaeger.yaml asks for
    "LISTEN_HOST": "0.0.0.0",
    "QUERY_PORT": "16686",
    "QUERY_GRPC_PORT": "16685",
    "HEALTH_PORT": "13133",
    "OTLP_PORT": "4317",
}
MODEL_KEYS = ("insightGenerator", "sufficiencyScorer", "slmExecutor")
# Python finds torch and the tests' engine by a file of paths in the image's environment.
PATHS = "tests.pth"
_IMAGE_PACKAGES = f"/app/.venv/lib/python3.{sys.version_info.minor}/site-packages"


def release_values(*, scripted: bool) -> dict[str, Any]:
    """`scripted`: with the test engine in place of the models."""
    return merged(
        {
            "fullnameOverride": NAME,
            "image": {
                "registry": "localhost",
                "repository": "tandem",
                "tag": "worker",
                "pullPolicy": "Never",
                "cudaSuffix": "",
            },
            "modelCache": {"type": "existingClaim", "existingClaim": "models", "pull": False},
            "demo": _demo(),
            "defaults": {
                "probes": _PROBES,
                "unreadyPauseSeconds": 1,
                "drainSeconds": 15,
                "resources": _SMALL,
                "extraVolumes": [_claim(name) for name in ("site", "extra")],
                "extraVolumeMounts": _PACKAGES,
            },
            "gateway": {"resources": _SMALL},
            "worker": {"resources": _SMALL, "handoverSeconds": 60},
            "httpGateway": {"replicaCount": 1, "resources": _SMALL},
            "answerChecker": {"replicaCount": 1, "resources": _SMALL},
            # A fake GPU is one that a pod can have, not one that computes. GGUF files are what `make models` downloads.
            **{key: {"engine": "llamacpp", "device": "cpu", "threads": 2, "resources": _SMALL} for key in MODEL_KEYS},
        },
        _scripted_values() if scripted else {},
    )


def _scripted_values() -> dict[str, Any]:
    journal = {"name": "TANDEM_TEST_JOURNAL", "value": "/journal/tokens"}
    own = {
        "engine": "tests.fakes:make_engine",
        "extraEnv": [journal],
        "extraVolumes": [_claim(name) for name in ("site", "extra", "journal")],
        "extraVolumeMounts": [*_PACKAGES, {"name": "journal", "mountPath": "/journal"}],
    }
    return {
        "profile": {"name": "scripted", "files": {"profile.toml": _profile()}},
        **dict.fromkeys(MODEL_KEYS, own),
    }


def _profile() -> str:
    """The tests' profile, in which a model that is away is waited for as long as by default."""
    text = (REPOSITORY / "tests" / "profiles" / "scripted" / "profile.toml").read_text()
    text, found = re.subn(r"^unavailable_timeout_seconds = .*$", "unavailable_timeout_seconds = 120", text, flags=re.M)
    assert found == 1
    return text


def _demo() -> dict[str, Any]:
    programs = "/programs"
    return {
        "enabled": True,
        "nodeSelector": {"tandem.dev/pool": "slm"},
        "extraVolumes": [_claim("programs")],
        "extraVolumeMounts": [_mount("programs")],
        "extraEnv": [{"name": f"JAEGER_{name}", "value": value} for name, value in _JAEGER.items()],
        "redis": {
            "image": "localhost/tandem:worker",
            "command": [
                f"{programs}/redis-server",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
                "6379",
                "--protected-mode",
                "no",
            ],
        },
        "temporal": {
            "image": "localhost/tandem:worker",
            "command": [f"{programs}/temporal", "server", "start-dev", "--ip", "0.0.0.0", "--headless"],
        },
        "jaeger": {
            "image": "localhost/tandem:worker",
            "command": [f"{programs}/jaeger", "--config", f"{programs}/jaeger.yaml"],
        },
    }


def before() -> dict[str, Any]:
    """What is different for images of the version before: the tests' engine is that version's."""
    site, extra, journal = _claim("site"), {**_claim("extra-before"), "name": "extra"}, _claim("journal")
    models = {key: {"extraVolumes": [site, extra, journal]} for key in MODEL_KEYS}
    return {"defaults": {"extraVolumes": [site, extra]}, **models}


def _claim(name: str) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def _mount(name: str) -> dict[str, Any]:
    return {"name": name, "mountPath": f"/{name}", "readOnly": True}


_PACKAGES = [
    _mount("site"),
    _mount("extra"),
    {"name": "extra", "mountPath": f"{_IMAGE_PACKAGES}/{PATHS}", "subPath": PATHS, "readOnly": True},
]
