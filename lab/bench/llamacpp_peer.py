"""llama.cpp's own server over HTTP: reads lines of `{"prompts": [[id]], "max_tokens": n}`, writes each token's time.

`python -m lab.bench.llamacpp_peer wheel|wheel-mapped|native-mapped FILE THREADS WIDTH TOKENS`; bench.engine starts it.
All settings but the sizes are the server's own; `mapped` has ours: the weights as they are in the file, and no flash
attention.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import httpx

from lab.bench import peers
from tandem.local.ports import free_port

_LONG = 600  # seconds


def main(build: str, file: str, threads: int, width: int, max_tokens: int) -> None:
    if build == "native-mapped":
        server = _native(file, threads, width, max_tokens)
    else:
        server = _of_the_wheel(file, threads, width, max_tokens, is_mapped=build == "wheel-mapped")
    with server as url:
        for line in sys.stdin:
            request = json.loads(line)
            started = time.time()
            times = asyncio.run(_token_times(url, request["prompts"], request["max_tokens"]))
            print(json.dumps({"started": started, "token_times": times}), flush=True)


@contextmanager
def _of_the_wheel(file: str, threads: int, width: int, max_tokens: int, *, is_mapped: bool) -> Iterator[str]:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = file
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.n_parallel, settings.n_ctx, settings.kv_unified = width, max_tokens, True
    if is_mapped:
        settings.no_extra_bufts = True
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    server: Any = xllamacpp.Server(settings)
    yield server.listening_address


@contextmanager
def _native(file: str, threads: int, width: int, max_tokens: int) -> Iterator[str]:
    port = free_port()
    sizes = ["-t", str(threads), "-np", str(width), "-c", str(max_tokens), "--kv-unified"]
    sizes += ["--no-repack", "--flash-attn", "off"]  # repacked for AMX, build 11434 ends by SIGSEGV
    command = [str(peers.llama_server()), "-m", file, "--port", str(port), *sizes]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _is_healthy(url):
            if process.poll() is not None:
                raise SystemExit(f"llama-server has ended: run {' '.join(command)} to see why")
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait(60)


async def _token_times(url: str, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[float]:
    """Unix seconds of each token of all sequences, in order."""
    async with httpx.AsyncClient(base_url=url, timeout=_LONG) as client:
        streams = [_stream(client, ids, max_tokens) for ids in prompts]
        return sorted(chain(*await asyncio.gather(*streams)))


async def _stream(client: httpx.AsyncClient, ids: Sequence[int], max_tokens: int) -> list[float]:
    # An end of the text would make a stream shorter than the others.
    asked = {"prompt": ids, "n_predict": max_tokens, "temperature": 0, "stream": True, "ignore_eos": True}
    times: list[float] = []
    async with client.stream("POST", "/completion", json=asked | {"return_tokens": True}) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                times.extend([time.time()] * len(json.loads(line.removeprefix("data: ")).get("tokens", [])))
    return times


def _is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
