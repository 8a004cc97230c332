"""What a hostile caller may send: messages of a method with any values in their fields, broken bytes, JSON and HTTP requests of
any form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

_DEEPEST = 3
_MOST_REPEATED = 3
_INTEGERS = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_ENUM: (-(2**31), 2**31 - 1),
}
"""By type: the least and the largest value. An enum of proto3 takes any int32."""
# Values that some code gives a meaning to, and two of awkward length or content.
TEXTS = (
    "", "scripted-hostile", "user", "system", "code", "regex", "choice", "python_examples", "(a+)+$", "json_schema", "../../etc/passwd",
    "{id}:state", "tandem:stops", "<|im_end|>", "[scores=0:0.9 slm_eos=3]", "-1.0.0", "0-0", '" or 1=1 --', "cost > 0 and", "\x00",
    "é" * 300, "{" * 2000, "x" * 70_000,
)  # fmt: skip
_text = st.sampled_from(TEXTS) | st.text(max_size=40)
# Of a length that a request's first line may have.
_quoted = (st.sampled_from([text for text in TEXTS if len(text) <= 2000]) | st.text(max_size=40)).map(
    lambda text: quote(text, safe="")
)
_number = st.sampled_from((0.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))) | st.floats(width=32)


def messages(descriptor: Descriptor, depth: int = 0) -> st.SearchStrategy[Message]:
    """Messages of this type: each field is absent, or has any value of its type."""
    kind = message_factory.GetMessageClass(descriptor)
    fields = {
        field.name: _values(field, depth) for field in descriptor.fields if depth < _DEEPEST or not field.message_type
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: kind(**given))


def broken_bytes(descriptor: Descriptor) -> st.SearchStrategy[bytes]:
    """A message's bytes with some of them changed, cut or added; or any bytes."""
    edits = st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=4)), min_size=1, max_size=4)
    whole = messages(descriptor).map(lambda message: message.SerializeToString())
    return st.builds(_edited, whole, edits) | st.binary(max_size=200)


def json_bodies(valid: dict[str, Any]) -> st.SearchStrategy[Any]:
    """`valid` with some of its values, or others, replaced by any JSON; or any JSON."""
    scalars = st.none() | st.booleans() | st.integers() | _number | _text
    anything = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3), max_leaves=8
    )
    names = st.sampled_from(
        [*valid, "stream", "n", "stop", "seed", "tandem", "metadata", "user", "response_format", "max_tokens"]
    )
    changes = st.dictionaries(names | _text, anything, max_size=3)
    return changes.map(lambda given: valid | given) | anything


def paths(path: str) -> st.SearchStrategy[str]:
    """A route's path with any text in the place of a name."""
    before, _, rest = path.partition("{")
    if not rest:
        return st.just(path)
    return _quoted.map(lambda name: before + name + rest.partition("}")[2])


def queries() -> st.SearchStrategy[str]:
    """Parameters that some route knows, and others, with any values; not only UTF-8."""
    names = st.sampled_from(("limit", "after", "order", "purpose", "where")) | _quoted
    numbers = st.sampled_from(("0", "-1", "1", "1000", "1e3", "9" * 400, "nan"))
    parts = st.tuples(names, numbers | _quoted | st.binary(max_size=20).map(quote)).map("=".join)
    return st.lists(parts, max_size=4).map("&".join)


def headers() -> st.SearchStrategy[dict[str, str]]:
    """Headers that some route reads, with any value that HTTP allows."""
    names = ("authorization", "idempotency-key", "last-event-id", "sec-fetch-site", "traceparent", "x-request-id")
    values = st.sampled_from(("Bearer ", "Bearer x", "0-0", "-1", "same-origin", "x" * 8000)) | st.text(
        st.characters(min_codepoint=32, max_codepoint=126), max_size=40
    )
    return st.dictionaries(st.sampled_from(names), values.map(str.strip), max_size=3)


def forms() -> st.SearchStrategy[dict[str, Any]]:
    """Uploads, as options of httpx: any fields, files of any name and content."""
    names = st.sampled_from(("file", "purpose", "expires_after[anchor]")) | _text
    file = st.tuples(st.sampled_from(("a.jsonl", "../a", "")) | _text, st.binary(max_size=300))
    fields = st.dictionaries(names, st.just("batch") | _text, max_size=3)
    return st.fixed_dictionaries({"data": fields, "files": st.dictionaries(names, file, min_size=1, max_size=2)})


def _edited(data: bytes, edits: Sequence[tuple[int, bytes]]) -> bytes:
    for at, new in edits:
        place = at % (len(data) + 1)
        data = data[:place] + new + data[place + len(new) // 2 :]
    return data


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        return st.dictionaries(_one(key, depth), _one(value, depth + 1), max_size=_MOST_REPEATED)
    one = _one(field, depth + 1)
    return st.lists(one, max_size=_MOST_REPEATED) if field.is_repeated else one


def _one(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type:
        return messages(field.message_type, depth)
    if field.type in _INTEGERS:
        low, high = _INTEGERS[field.type]
        return st.sampled_from((low, high)) | st.integers(max(low, -3), 5)
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return _number
    if field.type == FieldDescriptor.TYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=60)
    return _text
