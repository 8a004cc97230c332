"""Engines by name: `auto`, `transformers`, `llamacpp`, `vllm`, `openai` (any compatible API), or `module:function` for an engine of your own."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from typing import Any

from services.engine.api import Engine
from services.engine.choice import choose
from services.engine.settings import EngineSettings


def make_engine(spec: str, arguments: dict[str, Any]) -> Engine:
    """An engine that is not started yet. `arguments` are as services.process.settings gives them.

    Raises ValueError for a name that is neither known nor a `module:function`, and for an engine that is not installed.
    """
    if spec == "auto":
        spec = choose(arguments)
    if spec == "transformers":
        if not find_spec("transformers"):
            raise ValueError(
                "the engine transformers is not installed: run `make develop`, or install the extra 'transformers'"
            )
        from services.engine.transformers_engine import TransformersEngine

        return TransformersEngine(_settings(arguments))
    if spec == "llamacpp":
        from services.engine.llamacpp_engine import LlamaCppEngine

        return LlamaCppEngine(_settings(arguments))
    if spec == "openai":
        from services.engine.openai_engine import make

        return make(arguments)
    if spec == "vllm":
        from services.engine import vllm_engine

        return vllm_engine.make(arguments)
    module, _, function = spec.partition(":")
    if not function:
        raise ValueError(
            f"unknown engine {spec!r}: use 'auto', 'transformers', 'llamacpp', 'vllm', 'openai' or 'module:function'"
        )
    engine: Engine = getattr(importlib.import_module(module), function)(arguments)
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


def _settings(arguments: dict[str, Any]) -> EngineSettings:
    known = {field.name for field in fields(EngineSettings)}
    return EngineSettings(**{name: arguments[name] for name in known & arguments.keys()})
