"""What a body of JSON may hold: text that is Unicode, and finite numbers. Python's parser takes more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator

from tandem.contract import lone_surrogate, readable
from tandem.openai.parameters import RefusedParameter


class JsonBody(BaseModel):
    """A body, or a line of a batch. Every text and number in it, named or not, can be sent on and repeated in a reply."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _can_be_said(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if fault := find_fault(given):
            path, why = fault
            raise RefusedParameter(path or "body", f"{path or 'the body'} {why}", "invalid_value")
        return handler(given)


def find_fault(value: Any) -> tuple[str, str] | None:
    """The path of the first text or number that JSON cannot say, and what is wrong with it."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False, default=lambda _: None).encode()
    except RecursionError:
        return "", "is nested too deeply"
    except ValueError:  # rare, so that only then each value is looked at
        return next(_faults(value, ""), None)
    return None


def _faults(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and (lone := lone_surrogate(value)):
        yield path, f"holds text that is no Unicode: {lone}"
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, f"is no finite number: {value}"
    elif isinstance(value, dict):
        for name, inner in value.items():
            at = f"{path}.{readable(name)}".lstrip(".")
            yield from _faults(name, at)
            yield from _faults(inner, at)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _faults(inner, f"{path}[{index}]")
