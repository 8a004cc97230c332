"""Engines by name: `auto`, one of `BACK_ENDS`, or `module:function` for an engine of your own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from services.models.engine.api import PromptScorer, RunningModel
from tandem.method.profile.endpoint import PROTOCOLS
from tandem.paths import has_nvidia_gpu


@dataclass(frozen=True, slots=True)
class BackEnd:
    """`maker` is a `module:function`, as an engine of your own has. It `scores` prompts, which some scorers need. An
    API (`is_api`) has its weights elsewhere.
    """

    maker: str
    scores: bool = False
    is_api: bool = False


BACK_ENDS: dict[str, BackEnd] = {
    "llamacpp": BackEnd("services.models.engine.llamacpp.engine:make", scores=True),
    "transformers": BackEnd("services.models.engine.torch_engine.engine:make", scores=True),
    "vllm": BackEnd("services.models.engine.remote.vllm_engine:make"),
    **{name: BackEnd(f"services.models.engine.remote.{name}_writer:make", is_api=True) for name in PROTOCOLS},
}
"""What an engine needs is in the extra of its name; of APIs in `api`. The chart and the settings list what stands
here.
"""
NAMES = ", ".join([*map(repr, ("auto", *BACK_ENDS)), "or 'module:function'"])


def make_engine(spec: str, arguments: dict[str, Any]) -> RunningModel:
    """An engine that is not started yet. `arguments` are as services.shared.process.settings gives them.

    Raises ValueError for a name that is neither known nor a `module:function`, and for an engine that is not installed.
    """
    name = choose(arguments) if spec == "auto" else spec
    module, _, function = (BACK_ENDS[name].maker if name in BACK_ENDS else name).partition(":")
    if not function:
        raise ValueError(f"unknown engine {spec!r}: use {NAMES}")
    try:
        make = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if name not in BACK_ENDS:
            raise
        extra = "api" if BACK_ENDS[name].is_api else name
        missing = f"the engine {name} is not installed ({error.name} is missing)"
        raise ValueError(f"{missing}: run `make develop`, or install the extra {extra!r}") from error
    engine: RunningModel = make(arguments)
    return engine


@contextmanager
def running_engine(spec: str, arguments: dict[str, Any]) -> Iterator[PromptScorer]:
    """`make_engine`'s of a model that runs here, started; it is stopped at the end of the block.

    Raises what `make_engine` and `RunningModel.start` raise.
    """
    engine = cast("PromptScorer", make_engine(spec, arguments))
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def choose(arguments: Mapping[str, Any]) -> str:
    """What `auto` is: the engine that fits the device, the files of the model and what is installed.

    vLLM generates on GPUs. On everything else llama.cpp runs GGUF files, which need no conversion and little memory.
    transformers does the rest: GPUs without vLLM, models without a GGUF file, and scorers that read hidden states.
    """
    path, device = Path(arguments["path"]), arguments.get("device", "auto")
    has_gguf, has_folder = any(path.glob("*.gguf")), (path / "config.json").is_file()
    if has_folder and (device.startswith("cuda") or (device == "auto" and has_nvidia_gpu())):
        generates = arguments.get("generates", True)
        return "vllm" if generates and find_spec("vllm") else "transformers"
    if has_gguf and not arguments.get("needs_states") and (has_llamacpp() or not has_folder):
        return "llamacpp"
    return "transformers"


def has_llamacpp() -> bool:
    """Its library can be opened here."""
    return bool(importlib.import_module("services.models.engine.llamacpp.library").is_installed())
