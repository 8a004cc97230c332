"""The operator's keys, from the file that TANDEM_PAYLOAD_KEYS names."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tandem.method.errors import FailedPrecondition
from tandem.method.problems import problems

KEY_BYTES = 32
TEXT_UNREADABLE = "TEXT_UNREADABLE"
"""Reason of a FailedPrecondition: this process lacks the key of what it reads, or somebody has changed it."""


class PayloadKeys(BaseModel):
    """`{"active": NAME, "keys": {NAME: base64 of 32 bytes}}`: what is new is encrypted with the active key."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    active: str
    keys: Mapping[str, str]

    @model_validator(mode="after")
    def _check(self) -> PayloadKeys:
        if self.active not in self.keys:
            raise ValueError(f"keys has no {self.active!r}, the active one")
        for name in self.keys:
            if not name or len(self.secret(name)) != KEY_BYTES:
                raise ValueError(f"key {name!r} is not the base64 of {KEY_BYTES} bytes (`openssl rand -base64 32`)")
        return self

    def secret(self, name: str) -> bytes:
        try:
            return base64.b64decode(self.keys[name], validate=True)
        except binascii.Error:
            return b""


def read_keys(file: str) -> PayloadKeys | None:
    """None where no file is named. Raises ValueError for a file that holds none."""
    if not file:
        return None
    try:
        return PayloadKeys.model_validate_json(Path(file).read_text())
    except (OSError, ValidationError) as error:
        raise ValueError(f"TANDEM_PAYLOAD_KEYS: {problems(error)}") from error


def unreadable(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"what is kept of the request cannot be read: {why}", reason=TEXT_UNREADABLE)
