"""Engines by name: `auto`, one of `_MADE_BY`, or `module:function` for an engine of your own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from services.engine.api import Engine
from services.engine.settings import code_folder

_MADE_BY = {
    "llamacpp": "services.engine.llamacpp.engine:make",
    "transformers": "services.engine.torch_engine.engine:make",
    "vllm": "services.engine.remote.vllm_engine:make",
    "openai": "services.engine.remote.openai_engine:make",  # any compatible API
}
"""What an engine needs is in the extra of its name."""


def make_engine(spec: str, arguments: dict[str, Any]) -> Engine:
    """An engine that is not started yet. `arguments` are as services.process.settings gives them.

    Raises ValueError for a name that is neither known nor a `module:function`, and for an engine that is not installed.
    """
    name = choose(arguments) if spec == "auto" else spec
    module, _, function = _MADE_BY.get(name, name).partition(":")
    if not function:
        known = ", ".join(map(repr, ["auto", *_MADE_BY]))
        raise ValueError(f"unknown engine {spec!r}: use {known} or 'module:function'")
    try:
        make = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if name not in _MADE_BY:
            raise
        raise ValueError(
            f"the engine {name} is not installed ({error.name} is missing): install the extra {name!r}"
        ) from error
    engine: Engine = make(arguments)
    return engine


@contextmanager
def running_engine(spec: str, arguments: dict[str, Any]) -> Iterator[Engine]:
    """`make_engine`'s, started; it is stopped at the end of the block. Raises what `make_engine` and `Engine.start` raise."""
    engine = make_engine(spec, arguments)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def choose(arguments: Mapping[str, Any]) -> str:
    """What `auto` is: the engine that fits the device, the files of the model and what is installed.

    vLLM generates on GPUs. On everything else llama.cpp runs GGUF files, which need no conversion and little memory, or transformers a
    model that `tandem models compile` has made faster than that. transformers does the rest: GPUs without vLLM, models without a
    GGUF file, and scorers that read hidden states.
    """
    path, device = Path(arguments["path"]), arguments.get("device", "auto")
    has_gguf, has_folder = any(path.glob("*.gguf")), (path / "config.json").is_file()
    if has_folder and _has_gpu(device):
        generates = arguments.get("generates", True)
        return "vllm" if generates and find_spec("vllm") else "transformers"
    if has_folder and code_folder(path, arguments.get("threads", 0)).is_dir():
        return "transformers"
    if has_gguf and not arguments.get("needs_states") and (has_llamacpp() or not has_folder):
        return "llamacpp"
    return "transformers"


def has_llamacpp() -> bool:
    """Its library can be opened here."""
    return bool(importlib.import_module("services.engine.llamacpp.library").is_installed())


def _has_gpu(device: str) -> bool:
    """An NVIDIA one, without importing torch for it."""
    return device.startswith("cuda") or (device == "auto" and any(Path("/dev").glob("nvidia[0-9]*")))
