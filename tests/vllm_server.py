"""vLLM's own HTTP server on a CPU, from the environment that `make tools TOOLS=vllm` installs."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.local.ports import free_port
from tandem.paths import programs_folder
from tests.peer_servers import serving

PYTHON = programs_folder() / "vllm" / "bin" / "python"
"""Where lab.bench.vllm installs it."""
needs_vllm = pytest.mark.skipif(not PYTHON.is_file(), reason="`make tools TOOLS=vllm` installs vLLM's build for CPUs")
_START_SECONDS = 300


@contextlib.contextmanager
def vllm_server(model: Path, name: str, log: Path, *options: str) -> Iterator[str]:
    """The base address of a server of the checkpoint `model`, which it calls `name`; what it says goes to `log`."""
    port = free_port()
    command = [PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", name]
    command += ["--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "2048", *options]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("w") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
    url = f"http://127.0.0.1:{port}"

    with serving(process, f"{url}/health", _START_SECONDS, log):
        yield f"{url}/v1"
