"""What a hostile caller may send: messages of a method with any values in their fields, broken bytes, JSON and HTTP
requests of any form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from tandem.method.tokens import EFFORTS
from tandem.openai.body import ApiBody
from tests.integration.hostile.schemas import schemas

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
    "",
    "scripted-hostile",
    "user",
    "system",
    "code",
    "regex",
    "choice",
    "python_examples",
    "(a+)+$",
    "json_schema",
    "../../etc/passwd",
    "{id}:state",
    "tandem:stops",
    "<|im_end|>",
    "[scores=0:0.9 slm_eos=3]",
    "-1.0.0",
    "0-0",
    '" or 1=1 --',
    "cost > 0 and",
    "\x00",
    "é" * 300,
    "{" * 2000,
    "x" * 70_000,
)
LONE = ("\ud800", "a\udfffb", "\udc00\ud800")
"""Halves of surrogate pairs, which JSON can say and no message can hold."""
BIG = tuple(sign * number for power in (31, 32, 53, 63, 64) for number in (2**power - 1, 2**power) for sign in (1, -1))
_OWN = (
    "max_llm_tokens",
    "max_stage",
    "thresholds",
    "threshold",
    "max_cost_usd",
    "tenant",
    "checks",
    "concurrency",
    "task",
)
_NAMES = (
    "stream",
    "n",
    "stop",
    "seed",
    "tandem",
    "metadata",
    "user",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "temperature",
    "top_p",
    "profile",
    "text",
)
_TYPES = (
    "text", "image", "image_url", "input_text", "output_text", "input_image", "refusal", "thinking",
    "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "document", "message", "function_call",
    "function_call_output", "reasoning", "function", "custom", "namespace", "web_search", "web_search_20250305",
    "enabled", "adaptive", "ephemeral", "json_schema",
)  # fmt: skip
_FIELDS = (
    "type", "id", "input", "content", "name", "index", "function", "arguments", "parameters", "input_schema",
    "tool_calls", "reasoning_content", "cache_control", "citations", "defer_loading",
    "eager_input_streaming", "summary",
)  # fmt: skip
_WORDS = re.compile(r"[a-z_]+")
_INFINITE = ("Infinity", "1e400")
_text = st.sampled_from(TEXTS) | st.text(max_size=40)
_any_text = _text | st.sampled_from(LONE) | st.text(st.characters(exclude_categories=()), max_size=20)
# Of a length that a request's first line may have.
_quoted = (st.sampled_from([text for text in TEXTS if len(text) <= 2000]) | st.text(max_size=40)).map(
    lambda text: quote(text, safe="")
)
_number = st.sampled_from((0.0, -0.0, -1.0, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))) | st.floats(
    width=32
)

_scalars = st.none() | st.booleans() | st.integers() | st.sampled_from((*BIG, 10**40)) | _number | _any_text
_anything = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_any_text, inner, max_size=3), max_leaves=8
)


def messages(descriptor: Descriptor, depth: int = 0) -> st.SearchStrategy[Message]:
    """Messages of this type: each field is absent, or has any value of its type."""
    kind = message_factory.GetMessageClass(descriptor)
    fields = {
        field.name: _values(field, depth) for field in descriptor.fields if depth < _DEEPEST or not field.message_type
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: kind(**given))


def broken_bytes(descriptor: Descriptor) -> st.SearchStrategy[bytes]:
    """A message's bytes with some of them changed, cut or added; or any bytes."""
    new = st.binary(max_size=4) | st.sampled_from([text.encode(errors="surrogatepass") for text in LONE])
    edits = st.lists(st.tuples(st.integers(0, 10**6), new), min_size=1, max_size=4)
    whole = messages(descriptor).map(lambda message: message.SerializeToString())
    return st.builds(_edited, whole, edits) | st.binary(max_size=200)


def json_bodies(valid: dict[str, Any]) -> st.SearchStrategy[str]:
    """`valid` with some of its values, or others, replaced by any JSON; or any JSON. As Python's parser takes it: with
    NaN too.
    """
    scalars, anything = _scalars, _anything
    own = st.dictionaries(st.sampled_from(_OWN), scalars | st.dictionaries(_any_text, scalars, max_size=2), max_size=2)
    known = st.fixed_dictionaries({}, optional={"tandem": own, "response_format": _formats(), "text": _formats("text")})
    names = st.sampled_from([*valid, *_NAMES])
    changes = st.dictionaries(names, scalars, max_size=2) | st.dictionaries(names | _any_text, anything, max_size=3)
    some = st.tuples(changes, known).map(lambda given: valid | given[1] | given[0]) | known.map(valid.__or__)
    return st.builds(_said, some | anything, st.sampled_from(_INFINITE))


def parameter_bodies(valid: dict[str, Any], body: type[ApiBody]) -> st.SearchStrategy[str]:
    """`valid` with some of an API's parameters, and with messages and tools of every type that it has, with fields of
    any value.
    """
    table = {*body.model_fields, *body.parameters}
    names = sorted({word for place in table for word in _WORDS.findall(place)} | set(_FIELDS))
    types = st.sampled_from(_TYPES) | _any_text
    value = _anything | st.sampled_from((*EFFORTS, *TEXTS[:10]))
    inner = st.dictionaries(st.sampled_from(names), value, max_size=4)
    typed = st.builds(lambda kind, more: {**more, "type": kind}, types, inner)
    part = st.builds(lambda whole, more: {**more, **whole}, typed, st.dictionaries(st.sampled_from(names), typed))
    message = st.fixed_dictionaries(
        {"role": st.sampled_from(("system", "developer", "user", "assistant", "tool")) | _any_text},
        optional={"content": st.lists(part | _text, max_size=3) | _text, "tool_calls": st.lists(part, max_size=2)},
    )
    lists = {"messages": message, "input": message | part, "system": part, "tools": part}
    shaped = {name: st.lists(lists[name], max_size=3) for name in lists.keys() & table}
    tops = st.dictionaries(st.sampled_from(sorted(name for name in table if _WORDS.fullmatch(name))), part | value)
    given = st.tuples(tops, st.fixed_dictionaries({}, optional=shaped))
    return st.builds(_said, given.map(lambda some: valid | some[0] | some[1]), st.sampled_from(_INFINITE))


def _formats(place: str = "") -> st.SearchStrategy[Any]:
    """Of an answer in JSON: schemas that cost much, in the form of either API."""
    found = schemas().map(json.loads) | st.sampled_from([{"enum": [text]} for text in LONE])
    if place:
        return found.map(lambda schema: {"format": {"type": "json_schema", "name": "a", "schema": schema}})
    return found.map(lambda schema: {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}})


def _said(value: Any, infinite: str) -> str:
    return json.dumps(value).replace("Infinity", infinite)


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


def headers() -> st.SearchStrategy[dict[str, bytes]]:
    """Headers that some route reads, with any value that HTTP allows."""
    names = ("authorization", "idempotency-key", "last-event-id", "sec-fetch-site", "traceparent", "x-request-id")
    values = st.sampled_from(("Bearer ", "Bearer x", "Bearer \xe9", "0-0", "-1", "same-origin", "x" * 8000)) | st.text(
        st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
    )
    sent = values.map(lambda text: text.encode("latin-1").strip())
    return st.dictionaries(st.sampled_from(names), sent, max_size=3)


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
    if field.name == "json_schema":
        return schemas() | st.sampled_from([json.dumps({"enum": [text]}) for text in LONE]) | _text
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
