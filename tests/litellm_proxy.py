"""LiteLLM's proxy, in an environment of its own because it pins what Tandem uses (`make tools TOOLS=litellm`)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.local.ports import free_port
from tandem.paths import programs_folder
from tests.peer_servers import serving

PROXY = programs_folder() / "litellm-proxy" / "bin" / "litellm"
KEY = "sk-tester"
needs_litellm = pytest.mark.skipif(
    not PROXY.is_file(), reason="needs LiteLLM's proxy: `make tools TOOLS=litellm` installs it"
)


@contextlib.contextmanager
def litellm_proxy(
    folder: Path, models: Mapping[str, list[dict[str, Any]]], settings: Mapping[str, Any]
) -> Iterator[str]:
    """The base address of a proxy that calls each model's deployments (`litellm_params`) in turn. It wants KEY."""
    config = {
        "model_list": [
            {"model_name": name, "litellm_params": deployment} for name, them in models.items() for deployment in them
        ],
        "litellm_settings": {"telemetry": False},
        "router_settings": dict(settings),
        "general_settings": {"master_key": KEY},
    }
    file = folder / "litellm.yaml"
    file.write_text(yaml.safe_dump(config))
    port = free_port()
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_DOCS": "True"}
    environment.pop("PYTHONPATH", None)
    with (folder / "litellm.log").open("w") as log:
        process = subprocess.Popen(
            [str(PROXY), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip

    with serving(process, f"http://127.0.0.1:{port}/health/liveliness", 180, folder / "litellm.log"):
        yield f"http://127.0.0.1:{port}/v1"
