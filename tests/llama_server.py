"""llama.cpp's own HTTP server, which the wheel of the engine contains: `python -m tests.llama_server FILE.gguf PORT
NAME`.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tandem.local.ports import free_port
from tests.peer_servers import serving

API_KEY = "tester"


@contextlib.contextmanager
def llama_server(model: Path, name: str, api_key: str = "") -> Iterator[str]:
    """The base address of a server of the GGUF file `model`, which it calls `name`."""
    port = free_port()
    command = [sys.executable, "-m", "tests.llama_server", str(model), str(port), name, *([api_key] if api_key else [])]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"

    with serving(process, f"{url}/health", 300):
        yield f"{url}/v1"


def main(model: str, port: str, name: str, *api_keys: str) -> None:
    from xllamacpp import CommonParams, Server

    params = CommonParams()
    params.model.path, params.port, params.model_alias = model, int(port), {name}
    params.n_ctx, params.n_parallel, params.cpuparams.n_threads, params.warmup = 4096, 2, 2, False
    params.use_jinja, params.endpoint_metrics, params.api_keys = True, True, list(api_keys)
    server = Server(params)
    assert server.listening_address
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
