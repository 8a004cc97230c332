"""How what Temporal carries is written: JSON without what is as by default, which whoever reads it fills in.

Temporal's own converter for pydantic writes every field, and makes its readers again for each workflow: a fifth of a
worker's time. A long conversation is compressed: Temporal takes no payload above 2 MB, and text of 4 MB has 1 to 2.
"""

from __future__ import annotations

import dataclasses
import zlib
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
)

_ENCODING = b"json/plain"
_COMPRESSED = "json/zlib"
_LONG_BYTES = 64 * 1024  # below, the time of Temporal's own work hides what is saved
_LEVEL = 1  # 350 KB in 3 ms to a third; level 6 takes four times as long for a fifth less


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
        data = to_json(brief)  # dump_json would write null for an infinite number
        if len(data) >= _LONG_BYTES:
            return Payload(metadata={"encoding": _COMPRESSED.encode()}, data=zlib.compress(data, _LEVEL))
        return Payload(metadata={"encoding": _ENCODING}, data=data)

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        return _adapter(Any if type_hint is None else type_hint).validate_json(payload.data)


class CompressedJson(EncodingPayloadConverter):
    """Reads what BriefJson has compressed."""

    @property
    def encoding(self) -> str:
        return _COMPRESSED

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        return BriefJson().from_payload(Payload(data=zlib.decompress(payload.data)), type_hint)


class BriefPayloads(CompositePayloadConverter):
    def __init__(self) -> None:
        converters = DefaultPayloadConverter.default_encoding_payload_converters
        brief = (BriefJson() if isinstance(c, JSONPlainPayloadConverter) else c for c in converters)
        super().__init__(*brief, CompressedJson())
