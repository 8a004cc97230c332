"""What a body of JSON may hold: text that is Unicode, finite numbers, and so many values. Python's parser takes
more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator
from pydantic_core import to_json

from tandem.client.contract import lone_surrogate, readable
from tandem.method.json_text import read_json_text
from tandem.openai.parameters import RefusedParameter

MOST_VALUES, MOST_DEPTH = 32_768, 128


class JsonBody(BaseModel):
    """A body, or a line of a batch. Every text and number in it, named or not, can be sent on and repeated in a
    reply.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _can_be_said(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if fault := find_fault(given):
            path, why = fault
            raise RefusedParameter(path or "body", f"{path or 'the body'} {why}", "invalid_value")
        return handler(given)


def read_json(body: bytes) -> Any:
    """Raises RefusedParameter for what is no JSON, for more than MOST_DEPTH levels, and, before it is parsed, for more
    than MOST_VALUES values.
    """
    try:
        text = body.decode("utf-8-sig")
        if _may_have_too_many(text):
            raise _too_much(f"{MOST_VALUES} values")
        value = read_json_text(text)
    except ValueError as error:  # of either
        raise RefusedParameter("body", f"the body is no JSON that can be read: {error}", "invalid_value") from None
    except RecursionError:
        raise _too_much(f"{MOST_DEPTH} levels") from None
    if _is_deep(value):
        raise _too_much(f"{MOST_DEPTH} levels")
    return value


def _too_much(more: str) -> RefusedParameter:
    return RefusedParameter("body", f"the body has more than {more}", "invalid_value")


def _may_have_too_many(text: str) -> bool:
    """Whether JSON has too many values to be parsed. A few searches, which cost less than that."""
    if _marks(text) <= MOST_VALUES:
        return False
    text = text.replace("\\\\", "").replace('\\"', "")
    if text.count('"') > 4 * MOST_VALUES:  # two for each value that is a text, and for each one's name
        return True
    return _marks("".join(text.split('"')[::2])) > MOST_VALUES  # what is outside of its strings


def _marks(text: str) -> int:
    """As many values as there are at most, where none is in a string."""
    return text.count("[") + text.count("{") + text.count(",")


def _is_deep(value: Any) -> bool:
    level = _containers([value])
    for _ in range(MOST_DEPTH):
        level = [
            inner for outer in level for inner in _containers(outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _containers(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, dict | list)]


def find_fault(value: Any) -> tuple[str, str] | None:
    """The path of the first text or number that JSON cannot say, and what is wrong with it."""
    try:
        text = to_json(value, inf_nan_mode="constants", fallback=lambda _: None)
        is_suspect = b"NaN" in text or b"Infinity" in text  # also in a string
    except ValueError:  # rare, so that only then each value is looked at
        is_suspect = True
    try:
        return next(_faults(value, ""), None) if is_suspect else None
    except RecursionError:
        return "", "is nested too deeply"


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
