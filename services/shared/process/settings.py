"""Settings: one frozen value object per process, read once from the environment in its __main__.py.

Standard names where they exist (REDIS_URL, TEMPORAL_ADDRESS, OTEL_*), TANDEM_* for our own. A bad value ends the
process at once with the variable's name.
"""

from __future__ import annotations

import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.shared.sealing.keys import read_keys

if TYPE_CHECKING:  # the library is loaded where there are keys
    from services.shared.sealing.sealer import Sealer

_REPOSITORY = Path(__file__).resolve().parents[3]


def _from_seconds(value: object) -> object:
    try:
        return timedelta(seconds=float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


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
        description="file of the keys that encrypt text in Temporal and Redis",
    )

    retention: Seconds | None = Field(
        None,
        ge=timedelta(hours=1),  # Temporal keeps nothing for a shorter time
        validation_alias="TANDEM_RETENTION",
        description="how long text is kept after a request's end; empty: as Temporal and the file store do",
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
        from services.shared.sealing.sealer import Sealer

        return Sealer(keys)

    @field_validator("profile_folders", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(Path(p) for p in value.split(os.pathsep) if p) if isinstance(value, str) else value


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
