"""The llama.cpp back end: GGUF files as they are, on CPUs and on the GPUs that the installed wheel knows."""

from __future__ import annotations

from typing import Any

from services.engine.api import ModelInfo
from services.engine.llamacpp.library import BUILD
from services.engine.llamacpp.runner import LlamaRunner
from services.engine.loop.threaded_engine import ThreadedEngine
from services.engine.settings import EngineSettings


class LlamaCppEngine(ThreadedEngine):
    """An Engine (services.engine.api) of a GGUF file, in the settings' path or that path itself, with its tokenizer beside it."""

    def __init__(self, settings: EngineSettings) -> None:
        self._runner = LlamaRunner(settings)
        super().__init__(settings, self._runner)

    @property
    def info(self) -> ModelInfo:
        settings, model = self._settings, self._runner.model
        return ModelInfo(
            name=settings.name,
            revision=settings.revision,
            dtype=model.quantization,
            device=model.device,
            parameters=self._core.num_parameters,
            context_length=model.context_length,
            engine="llamacpp",
            engine_version=BUILD,
        )


def make(arguments: dict[str, Any]) -> LlamaCppEngine:
    """From the arguments of services.engine.registry."""
    return LlamaCppEngine(EngineSettings.of(arguments))
