"""The transformers back end."""

from __future__ import annotations

from typing import Any

import transformers

from services.engine.api import ModelInfo
from services.engine.loop.threaded_engine import ThreadedEngine
from services.engine.settings import EngineSettings
from services.engine.torch_engine.runner import Runner


class TransformersEngine(ThreadedEngine):
    """An Engine (services.engine.api) of a decoder-only transformers model with full attention."""

    def __init__(self, settings: EngineSettings) -> None:
        self._runner = Runner(settings)
        super().__init__(settings, self._runner)

    @property
    def info(self) -> ModelInfo:
        settings, model = self._settings, self._runner.model
        return ModelInfo(
            name=settings.name,
            revision=settings.revision,
            dtype=settings.dtype,
            device=str(model.device),
            parameters=self._core.num_parameters,
            context_length=model.context_length,
            engine="transformers, compiled" if self.is_compiled else "transformers",
            engine_version=transformers.__version__,
        )

    @property
    def is_compiled(self) -> bool:
        return self._runner.is_compiled


def make(arguments: dict[str, Any]) -> TransformersEngine:
    """From the arguments of services.engine.registry."""
    return TransformersEngine(EngineSettings.of(arguments))
