"""What an engine of an API sends and counts by what its endpoint can do: a prefix, counted chunks, a schema."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from services.models.engine.api import Finished, FinishReason
from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.openai_writer import OpenAIWriter
from tandem.method.profile.endpoint import Capabilities
from tandem.method.tokens import TokenCounts
from tests.recorded_api import Answer, anthropic_events, openai_chunks, openai_usage, recorded_api
from tests.unit.test_api_engines import TEXTS, answers, request, started, whole


@pytest.mark.parametrize("way", ["prefix", "prefix_echoed"])
async def test_a_begun_turn_is_a_prefix_for_deepseek_and_for_mistral_which_repeats_it(way: Any) -> None:
    said = ["The be", "st ", "answer ", "is 42."] if way == "prefix_echoed" else ["answer ", "is 42."]
    with recorded_api(answers(Answer(events=openai_chunks(said, openai_usage(20, 5))))) as api:
        engine = started(OpenAIWriter, api, Capabilities(continues=way))
        text, _, end = await whole(engine, request(begun="The best "))
        plain, _, _ = await whole(engine, request())
        engine.stop()
    assert text == "answer is 42."
    assert (end.usage.read, end.usage.completion) == (20, 5)
    assert api.asked[0][1]["messages"][-1] == {"role": "assistant", "content": "The best ", "prefix": True}
    assert "prefix" not in str(api.asked[1][1])  # nothing is begun, and nothing is left out
    assert plain == "".join(said)


async def test_a_reply_that_does_not_repeat_its_beginning_after_all_loses_nothing() -> None:
    with recorded_api(answers(Answer(events=openai_chunks(["The ", "worst."], openai_usage(20, 2))))) as api:
        engine = started(OpenAIWriter, api, Capabilities(continues="prefix_echoed"))
        text, _, _ = await whole(engine, request(begun="The best "))
        engine.stop()
    assert text == "The worst."


async def test_a_stream_that_counts_each_chunk_is_billed_exactly_where_it_is_cut() -> None:
    """As vLLM does with continuous_usage_stats: two tokens in the second chunk, and no more is known of what would have
    come.
    """
    chunks = openai_chunks(TEXTS, None, finish=None)
    for number, (_, chunk) in enumerate(chunks):
        chunk["usage"] = openai_usage(20, (0, 1, 3, 4)[number])
    with recorded_api(answers(Answer(events=chunks, hangs=True))) as api:
        engine = started(OpenAIWriter, api, Capabilities(usage="continuous"))
        seen: list[Any] = []
        async for item in engine.write(request()):
            seen.append(item)
            if isinstance(item, Finished) or len(seen) == 4:
                engine.abort("r")
        engine.stop()
    assert api.asked[0][1]["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert seen[-1].reason is FinishReason.ABORTED
    assert seen[-1].usage == TokenCounts(prompt=20, completion=4)


async def test_claude_is_given_the_schema_as_its_output_config() -> None:
    schema = '{"type": "object", "properties": {"a": {"type": "integer"}}}'
    events = anthropic_events(['{"a": ', "1}"], 10, 6)
    with recorded_api(answers(Answer(events=events), kind=AnthropicWriter)) as api:
        engine = started(AnthropicWriter, api, Capabilities(json_schema=True))
        text, _, _ = await whole(engine, replace(request(), json_schema=schema))
        engine.stop()
    assert text == '{"a": 1}'
    assert api.asked[0][1]["output_config"] == {"format": {"type": "json_schema", "schema": json.loads(schema)}}
