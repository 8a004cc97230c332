"""Settings: one frozen value object per process, read once from the environment in its __main__.py.

Standard names where they exist (REDIS_URL, TEMPORAL_ADDRESS, OTEL_*), TANDEM_* for our own. A bad value ends the
process at once with the variable's name.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

from platformdirs import user_cache_path
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.engine.registry import NAMES
from services.sealing.keys import read_keys
from tandem.method.profile import Model, Profile, load_profile

if TYPE_CHECKING:  # the library is loaded where there are keys
    from services.sealing.sealer import Sealer

_REPOSITORY = Path(__file__).resolve().parents[2]


def _from_seconds(value: object) -> object:
    try:
        return timedelta(seconds=float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


def _from_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def _from_commas(value: object) -> object:
    return tuple(p.strip() for p in value.split(",") if p.strip()) if isinstance(value, str) else value


def _without_brackets(value: str) -> str:
    return value.removeprefix("[").removesuffix("]")


def _addresses(value: object) -> object:
    """Raises ValueError for a part that is no NAME=HOST:PORT."""
    if not isinstance(value, str):
        return value
    pairs = [each.strip().partition("=") for each in value.split(",") if each.strip()]
    if any(not (name and equals and ":" in address) for name, equals, address in pairs):
        raise ValueError("it is NAME=HOST:PORT, separated by commas")
    return {name: address for name, _, address in pairs}


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_from_commas)]
"""In the environment separated by commas."""
Addresses = Annotated[dict[str, str], NoDecode, BeforeValidator(_addresses)]
"""In the environment NAME=HOST:PORT, separated by commas."""
Seconds = Annotated[timedelta, BeforeValidator(_from_seconds)]
"""A duration; in the environment a number of seconds, or ISO 8601."""


class ProcessSettings(BaseSettings):
    """What every process reads."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True)

    host: Annotated[str, AfterValidator(_without_brackets)] = Field(
        "127.0.0.1", validation_alias="TANDEM_HOST", description="address to listen on; :: is every one, of IPv4 too"
    )
    port: int = Field(0, ge=0, le=65535, validation_alias="TANDEM_PORT", description="0 takes a free one")
    profile_folders: Annotated[tuple[Path, ...], NoDecode] = Field(
        (_REPOSITORY / "deploy" / "profiles",),
        validation_alias="TANDEM_PROFILES_PATH",
        description="folders of profiles, separated by ':'; the first that has a name wins",
    )
    drain: Seconds = Field(
        timedelta(seconds=20), validation_alias="TANDEM_DRAIN", description="what SIGTERM gives running work to end"
    )
    unready_pause: Seconds = Field(
        timedelta(0),
        validation_alias="TANDEM_UNREADY_PAUSE",
        description="pause between NOT_SERVING and closing on SIGTERM; 5 s behind a load balancer",
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, validation_alias="TANDEM_METRICS_PORT", description="Prometheus' /metrics; 0 serves none"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="TANDEM_LOG_LEVEL", description="DEBUG, INFO, WARNING or ERROR"
    )
    payload_keys: str = Field(
        "",
        validation_alias="TANDEM_PAYLOAD_KEYS",
        description="file of the keys that encrypt what Temporal and Redis keep of a request",
    )

    retention: Seconds | None = Field(
        None,
        ge=timedelta(hours=1),  # Temporal keeps nothing for a shorter time
        validation_alias="TANDEM_RETENTION",
        description="how long the text of a request is kept after its end; empty: as long as Temporal and the file store keep it",
    )

    def sealer(self) -> Sealer | None:
        """None without keys. Ends the process with code 2 for a file that holds none."""
        try:
            keys = read_keys(self.payload_keys)
        except ValueError as error:
            print(error, file=sys.stderr)
            raise SystemExit(2) from None
        if keys is None:
            return None
        from services.sealing.sealer import Sealer

        return Sealer(keys)

    @field_validator("profile_folders", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(Path(p) for p in value.split(os.pathsep) if p) if isinstance(value, str) else value


class ModelServiceSettings(ProcessSettings):
    """What a process that runs a model reads besides."""

    profile: str = Field(
        "qwen2.5-coder-1.5b-0.5b", validation_alias="TANDEM_PROFILE", description="whose model this process runs"
    )
    more_profiles: Names = Field(
        (),
        validation_alias="TANDEM_PROFILES",
        description="instead of TANDEM_PROFILE: profiles that have this process's model in common, separated by commas",
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
        description="llamacpp: of all running sequences together, and the most that one may have; memory is taken as they come",
    )
    saved_prefixes: Path | None = Field(
        None,
        validation_alias="TANDEM_SAVED_PREFIXES",
        description="llamacpp: a folder in which what the model has read of callers' tools outlives the process, readable for its user "
        "alone; it tells what the tools say. Empty: it is kept in memory",
    )
    max_batch: int = Field(16, gt=0, validation_alias="TANDEM_MAX_BATCH", description="sequences that run at once")
    max_waiting: int = Field(64, ge=0, validation_alias="TANDEM_MAX_WAITING", description="requests that may queue")

    journal: str = Field(
        "",
        validation_alias="TANDEM_JOURNAL",
        description="folder of the counts of running texts, which outlive a process that is killed; empty: in the temporary folder",
    )
    engine_args: Annotated[dict[str, Any], NoDecode, BeforeValidator(_from_json)] = Field(
        default_factory=dict,
        validation_alias="TANDEM_ENGINE_ARGS",
        description="more of the engine's own settings, as a JSON object: with vllm fields of AsyncEngineArgs",
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


S = TypeVar("S", bound=BaseSettings)


def read_settings(kind: type[S]) -> S:
    """The process's settings; ends the process with code 2 and one line per bad variable."""
    try:
        return kind()
    except ValidationError as error:
        _exit_with(error)


def _exit_with(error: ValidationError) -> NoReturn:
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        got = re.sub(r"//[^/]*@", "//***@", repr(problem["input"]))  # a URL may have a password
        print(f"{name}: {problem['msg']} (got {got})", file=sys.stderr)
    raise SystemExit(2)
