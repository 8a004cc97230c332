"""Settings of the answer checker."""

from __future__ import annotations

import os

from pydantic import Field

from services.process.settings import ProcessSettings, read_settings

DEFAULT_PORT = 50055
ALLOW_WEAK = "TANDEM_CHECKER_ALLOW_WEAK_SANDBOX"


class CheckerSettings(ProcessSettings):
    """What the answer checker reads besides. It holds no secret: none of its processes has one to lose."""

    port: int = Field(DEFAULT_PORT, ge=0, le=65535, validation_alias="TANDEM_PORT", description="0 takes a free one")
    concurrency: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        gt=0,
        validation_alias="TANDEM_CHECKER_CONCURRENCY",
        description="checks that run at once; one per core if not set",
    )
    max_waiting: int = Field(
        64, ge=0, validation_alias="TANDEM_CHECKER_MAX_WAITING", description="calls that may wait for a place"
    )
    check_seconds: float = Field(
        5.0, gt=0, le=60, validation_alias="TANDEM_CHECK_SECONDS", description="wall time of one check"
    )
    memory_mib: int = Field(
        512, ge=64, validation_alias="TANDEM_CHECK_MEMORY_MIB", description="address space of one process of a check"
    )
    allow_weak_sandbox: bool = Field(
        False,
        validation_alias=ALLOW_WEAK,
        description="run without seccomp, or with neither namespaces nor landlock, as on macOS: for answers of your own only",
    )


def allows_weak_sandbox() -> bool:
    """What the operator says by name, for processes that run programs and are no answer checker."""
    return read_settings(CheckerSettings).allow_weak_sandbox
