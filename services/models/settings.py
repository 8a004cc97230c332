"""The settings of a process that runs a model."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_cache_path
from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from services.models.engine.registry import NAMES
from services.shared.process.settings import Names, ProcessSettings
from tandem.method.profile.profile import Model, Profile, load_profile


def _from_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


class ModelServiceSettings(ProcessSettings):
    """What a process that runs a model reads besides."""

    profile: str = Field(
        "qwen2.5-coder-1.5b-0.5b", validation_alias="TANDEM_PROFILE", description="whose model this process runs"
    )
    more_profiles: Names = Field(
        (),
        validation_alias="TANDEM_PROFILES",
        description="instead of TANDEM_PROFILE: profiles that share this process's model, separated by commas",
    )
    models_folder: Path = Field(
        user_cache_path("tandem") / "models", validation_alias="TANDEM_MODELS", description="one folder per model"
    )
    engine: str = Field(
        "auto",
        validation_alias="TANDEM_ENGINE",
        description=f"{NAMES} that makes an Engine from these settings and a model",
    )
    device: str = Field("auto", validation_alias="TANDEM_DEVICE", description="auto, cpu, cuda, cuda:1")
    threads: int = Field(2, gt=0, validation_alias="TANDEM_THREADS", description="CPU threads of the engine")
    kv_cache_tokens: int = Field(
        32768,
        gt=0,
        validation_alias="TANDEM_KV_CACHE_TOKENS",
        description="llamacpp: tokens of all running sequences together, and of one",
    )
    saved_prefixes: Path | None = Field(
        None,
        validation_alias="TANDEM_SAVED_PREFIXES",
        description="llamacpp: folder for the state of system messages and tools, in clear; empty: memory",
    )
    max_batch: int = Field(16, gt=0, validation_alias="TANDEM_MAX_BATCH", description="sequences that run at once")
    max_waiting: int = Field(64, ge=0, validation_alias="TANDEM_MAX_WAITING", description="requests that may queue")

    journal: str = Field(
        "",
        validation_alias="TANDEM_JOURNAL",
        description="folder of token counts that outlive a killed process; empty: the temporary folder",
    )
    engine_args: Annotated[dict[str, Any], NoDecode, BeforeValidator(_from_json)] = Field(
        default_factory=dict,
        validation_alias="TANDEM_ENGINE_ARGS",
        description="more of the engine's settings, as a JSON object; vllm: fields of AsyncEngineArgs",
    )

    @property
    def journal_folder(self) -> Path:
        return Path(self.journal or Path(tempfile.gettempdir()) / f"tandem-journal-{os.getuid()}")

    def load_profiles(self) -> tuple[Profile, ...]:
        """The profiles that the process serves, its default first. Raises NotFound, InvalidArgument."""
        return tuple(load_profile(name, self.profile_folders) for name in self.more_profiles or (self.profile,))

    def engine_for(self, model: Model) -> str:
        """Of a model behind an API the engine that speaks its protocol, else TANDEM_ENGINE."""
        return model.api.protocol if model.api else self.engine

    def engine_arguments(self, model: Model) -> dict[str, Any]:
        """What an engine needs to know to run `model` here."""
        return {
            "path": self.models_folder / model.name,
            "name": model.name,
            "dtype": model.dtype,
            "quantization": model.quantization,
            "device": self.device,
            "threads": self.threads,
            "kv_cache_tokens": self.kv_cache_tokens,
            "saved_prefixes": self.saved_prefixes,
            "max_batch": self.max_batch,
            "max_waiting": self.max_waiting,
            "engine_args": self.engine_args,
            "api": model.api,
        }
