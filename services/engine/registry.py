"""Engines by name: `transformers`, `vllm`, `openai` (any compatible API), or `module:function` for one of somebody's own."""

from __future__ import annotations

import importlib
from typing import Any

from services.engine.api import Engine


def make_engine(spec: str, arguments: dict[str, Any]) -> Engine:
    """An engine that is not started yet. `arguments` are the fields of EngineSettings; an API needs only some of them.

    Raises ValueError for a name that is neither known nor importable.
    """
    if spec == "transformers":
        from services.engine.transformers_engine import EngineSettings, TransformersEngine

        return TransformersEngine(EngineSettings(**arguments))
    if spec == "openai":
        from services.engine.openai_engine import make

        return make(arguments)
    if spec == "vllm":
        from services.engine import vllm_engine

        return vllm_engine.make(arguments)
    module, _, function = spec.partition(":")
    if not function:
        raise ValueError(f"unknown engine {spec!r}: use 'transformers', 'vllm', 'openai' or 'module:function'")
    engine: Engine = getattr(importlib.import_module(module), function)(arguments)
    return engine
