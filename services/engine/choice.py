"""`engine = "auto"`: which engine runs a model here, from the device, the files of the model and what is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from services.engine.llamacpp_library import is_installed
from services.engine.settings import code_folder


def choose(arguments: Mapping[str, Any]) -> str:
    """The name of an engine. `arguments` are those of services.engine.registry.make_engine.

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
    if has_gguf and not arguments.get("needs_states") and (is_installed() or not has_folder):
        return "llamacpp"
    return "transformers"


def _has_gpu(device: str) -> bool:
    """An NVIDIA one, without importing torch for it."""
    return device.startswith("cuda") or (device == "auto" and any(Path("/dev").glob("nvidia[0-9]*")))
