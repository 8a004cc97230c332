"""How what Temporal carries is written: JSON without what is as by default, which whoever reads it fills in.

Temporal's own converter for pydantic writes every field, and makes its readers again for each workflow: a fifth of a
worker's time.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import CompositePayloadConverter, DefaultPayloadConverter, JSONPlainPayloadConverter

_ENCODING = b"json/plain"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """One for the process: the number of types that activities and workflows name is small."""
    return TypeAdapter(kind)


class BriefJson(PydanticJSONPlainPayloadConverter):
    """Reads what Temporal's own writes, and is read by it. A field without a default is always written."""

    def to_payload(self, value: Any) -> Payload | None:
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            return super().to_payload(value)
        brief = _adapter(type(value)).dump_python(value, exclude_defaults=True, warnings=False)
        return Payload(
            metadata={"encoding": _ENCODING}, data=to_json(brief)
        )  # dump_json would write null for an infinite number

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        return _adapter(Any if type_hint is None else type_hint).validate_json(payload.data)


class BriefPayloads(CompositePayloadConverter):
    def __init__(self) -> None:
        converters = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(BriefJson() if isinstance(c, JSONPlainPayloadConverter) else c for c in converters))
