"""What a body of JSON may hold: text that is Unicode, finite numbers, and so many values. Python's parser takes
more.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, model_validator

from tandem.client.contract import lone_surrogate, readable
from tandem.method.json_text import read_json_text
from tandem.openai.parameters import RefusedParameter

MOST_VALUES, MOST_DEPTH = 32_768, 128
_BRACKET = re.compile(r"[][{}]")


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
    """Raises RefusedParameter for what is no JSON, and, before it is parsed, for more than MOST_VALUES values or
    MOST_DEPTH levels.
    """
    try:
        text = body.decode("utf-8-sig")
        if more := _too_much(text):
            raise RefusedParameter("body", f"the body has more than {more}", "invalid_value")
        return read_json_text(text)
    except ValueError as error:  # of either
        raise RefusedParameter("body", f"the body is no JSON that can be read: {error}", "invalid_value") from None


def _too_much(text: str) -> str:
    """What JSON has too much of; empty where it may be parsed. A few searches, which cost less than parsing it."""
    opened = text.count("[") + text.count("{")
    if opened <= MOST_DEPTH and opened + text.count(",") <= MOST_VALUES:
        return ""
    text = text.replace("\\\\", "").replace('\\"', "")
    if text.count('"') > 4 * MOST_VALUES:  # two for each value that is a text, and for each one's name
        return f"{MOST_VALUES} values"
    bare = "".join(text.split('"')[::2])  # what is outside of its strings
    opened = bare.count("[") + bare.count("{")
    if opened + bare.count(",") > MOST_VALUES:
        return f"{MOST_VALUES} values"
    if opened > MOST_DEPTH and opened >= bare.count("]") + bare.count("}"):
        steps = (1 if found.group() in "[{" else -1 for found in _BRACKET.finditer(bare))
        if max(accumulate(steps)) > MOST_DEPTH:
            return f"{MOST_DEPTH} levels"
    return ""


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
