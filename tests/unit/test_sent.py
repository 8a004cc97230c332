"""The most tokens that an API can count of a body: bytes of text, and the vendors' rules of images and files."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from tandem.method.cost.sent import ADDED_TOKENS, Sent, sent_in, uses_in
from tandem.method.tokens import TokenCounts

MEGABYTE = base64.b64encode(bytes(1 << 20)).decode()
PNG = f"data:image/png;base64,{MEGABYTE}"
OPENAI_IMAGE, ANTHROPIC_IMAGE = 48_169, 4_784
CLAUDES = {"type": "base64", "media_type": "image/png", "data": MEGABYTE}
USER = {"role": "user"}


def sent(body: dict[str, Any], *tools: str) -> Sent:
    return sent_in(body, len(to_json(body)), tools)


def said(*parts: Any, name: str = "messages", **more: Any) -> dict[str, Any]:
    return {name: [{**USER, "content": list(parts)}], **more}


IMAGES = {
    "chat": (said({"type": "image_url", "image_url": {"url": PNG, "detail": "high"}}), OPENAI_IMAGE),
    "chat by address": (said({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}), OPENAI_IMAGE),
    "responses": (said({"type": "input_image", "image_url": PNG}, name="input"), OPENAI_IMAGE),
    "a screen": (
        {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": PNG}}]},
        OPENAI_IMAGE,
    ),
    "a tool's": (
        {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": PNG}]}]},
        OPENAI_IMAGE,
    ),
    "messages": (said({"type": "image", "source": CLAUDES}), ANTHROPIC_IMAGE),
    "a result's": (
        said({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": CLAUDES}]}),
        ANTHROPIC_IMAGE,
    ),
}


@pytest.mark.parametrize(("body", "most"), IMAGES.values(), ids=IMAGES)
def test_an_image_is_bounded_by_its_vendors_rule_and_not_by_its_bytes(body: dict[str, Any], most: int) -> None:
    found = sent(body)
    assert found.others == most
    assert found.text < 200
    assert 0 < found.likely <= found.others


@pytest.mark.parametrize(
    ("part", "least", "most"),
    [
        ({"type": "document", "source": CLAUDES | {"media_type": "application/pdf"}}, 1 << 20, 1 << 20),
        ({"type": "document", "source": {"type": "base64", "data": "A" * 1000}}, 5_000, 10_000),
        ({"type": "file", "file": {"file_data": "A" * 1000}}, 5_000, 10_000),
        ({"type": "input_file", "file_data": "A" * 1000}, 5_000, 10_000),
        ({"type": "input_audio", "input_audio": {"data": "A" * 1000, "format": "wav"}}, 5_000, 10_000),
        ({"type": "input_file", "file_id": "file-1"}, 1 << 20, 1 << 20),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
def test_a_file_is_bounded_by_its_size_and_by_the_longest_context(part: Any, least: int, most: int) -> None:
    for name in ("messages", "input"):
        assert least <= sent(said(part, name=name)).others <= most


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": PNG},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": MEGABYTE}},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"type": "image", "source": CLAUDES}},
        {"type": "thinking", "thinking": "", "signature": MEGABYTE},
        {"type": "image", "alt": MEGABYTE},
    ],
    ids=["a text", "a document of text", "arguments", "a signature", "beside an image"],
)
def test_what_may_be_text_is_counted_by_its_bytes(part: dict[str, Any]) -> None:
    assert sent(said(part)).text > len(MEGABYTE)


def test_a_vendors_own_tools_add_what_the_vendor_tells_the_model_of_them() -> None:
    ours = [{"name": "a", "input_schema": {}}, {"type": "function", "name": "b"}, {"type": "custom", "name": "c"}]
    plain, own = (
        sent(said("Hi", tools=ours)),
        sent(said("Hi", tools=[*ours, {"type": "bash_20250124", "name": "bash"}])),
    )
    assert (plain.others, own.others) == (0, 1_024)


def test_a_tool_that_may_run_at_the_vendor_adds_its_allowance() -> None:
    search = said("Hi", tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert sent(search, "web_search").others == sent(search).others + 100_000
    assert sent(said("Hi", web_search_options={}), "web_search").others == 100_000
    few = said("Hi", tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}])
    assert sent(few, "web_search").others == sent(few).others + 30_000


def test_a_vendors_tool_runs_as_often_as_the_body_says_or_ten_times() -> None:
    search, fetch = {"type": "web_search_20250305", "max_uses": 3}, {"type": "web_fetch_20260318"}
    assert uses_in(said("Hi", tools=[search, fetch]), ("web_search", "web_fetch")) == {"web_fetch": 10, "web_search": 3}
    assert uses_in({"tools": [{"type": "web_search"}], "max_tool_calls": 2}, ("web_search",)) == {"web_search": 2}
    for wrong in (-1, "many", True, 10**9, None, [1]):
        most = uses_in({"tools": [{"type": "web_search", "max_uses": wrong}]}, ("web_search",))["web_search"]
        assert most == (128 if wrong == 10**9 else 10)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=9)
    | st.sampled_from(["image", "data:", PNG[:40]]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "content", "output", "source", "data", "image_url", "url", "file_data", "text"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["messages", "input", "system", "tools"]), JSON))
def test_whatever_a_body_is_its_bound_is_neither_negative_nor_beyond_its_bytes_and_parts(body: dict[str, Any]) -> None:
    size = len(to_json(body))
    found = sent_in(body, size)
    assert 0 <= found.text <= size
    assert 0 <= found.likely <= found.others
    assert found.most_tokens == found.text + found.others + ADDED_TOKENS


COUNTS = st.integers(0, 2**64)


@given(COUNTS, COUNTS, st.integers(0, 10**7), st.floats(0, 1), st.floats(0, 1))
def test_what_is_read_at_most_keeps_its_proportions(
    prompt: int, cached: int, most: int, written: float, hour: float
) -> None:
    in_cache = min(prompt, int(prompt * written))
    counts = TokenCounts(prompt, cached, 5, written=in_cache, written_hour=min(prompt - in_cache, int(prompt * hour)))
    found = counts.reading(most)
    assert found.read <= max(most, 0)
    assert found.read >= min(counts.read, most) - 1
    assert found.written + found.written_hour <= found.prompt
    assert found.completion == 5
    assert found == counts or counts.read > most
