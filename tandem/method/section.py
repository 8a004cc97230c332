"""What the tables of a profile's TOML file are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Probability = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A table of the file: unknown keys are refused, and those of earlier versions with what to write instead
    (`removed`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    removed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _names_what_is_removed(cls, given: Any) -> Any:
        if isinstance(given, dict) and (found := sorted(cls.removed.keys() & given.keys())):
            raise ValueError("; ".join(f"{key} is removed: {cls.removed[key]}" for key in found))
        return given
