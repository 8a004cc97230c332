"""The parameter `stop` by OpenAI's own client: whole and streamed, in a batch's line, and refused where it cannot
be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from tests.integration.conftest import System
from tests.integration.edge import serving

pytestmark = pytest.mark.asyncio(loop_scope="session")
SCRIPT = "[scores=16:0.9 llm=word_ slm=more_END_of_it slm_eos=40]"


@pytest_asyncio.fixture(loop_scope="session")
async def client(http: httpx.AsyncClient) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def asked(script: str = SCRIPT, **more: Any) -> dict[str, Any]:
    return {"model": "scripted@0.8", "messages": [{"role": "user", "content": script}], **more}


@pytest.mark.parametrize("stop", ["END", ["never", "END", "of it"]], ids=["one", "several"])
async def test_an_answer_ends_before_the_string(client: openai.AsyncOpenAI, system: System, stop: Any) -> None:
    before = system.slm.counters.output_tokens
    reply = await client.chat.completions.create(**asked(stop=stop))
    [choice] = reply.choices
    assert (choice.message.content, choice.finish_reason) == ("word word word wmore", "stop")
    assert system.slm.counters.output_tokens - before == len("more END")
    assert reply.usage
    own = reply.usage.completion_tokens_details
    assert own
    assert reply.usage.completion_tokens == (own.reasoning_tokens or 0) + len("more END")


async def test_a_stream_ends_before_the_string_and_shows_none_of_it(client: openai.AsyncOpenAI) -> None:
    script = SCRIPT.replace("]", " ms=12]")
    stream = await client.chat.completions.create(
        **asked(script, stop="END", stream=True, stream_options={"include_usage": True})
    )
    chunks = [chunk async for chunk in stream]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    shown = ""
    for choice in choices:
        shown += choice.delta.content or ""
        assert "word word word wmore".startswith(shown)
    assert (shown, choices[-1].finish_reason) == ("word word word wmore", "stop")
    assert chunks[-1].usage


async def test_a_cap_within_a_string_says_length(client: openai.AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(**asked(stop="END", max_completion_tokens=16 + 7))
    [choice] = reply.choices
    assert (choice.message.content, choice.finish_reason) == ("word word word wmore EN", "length")


async def test_a_large_model_that_nothing_stops_ends_before_the_string(finishing_system: System) -> None:
    async with (
        serving(finishing_system.client.address) as http,
        openai.AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as client,
    ):
        wanted = asked("[llm=word_END_of_it ms=5]", stop=["END"], model="scripted-finishing")
        reply = await client.chat.completions.create(**wanted)
        stream = await client.chat.completions.create(**wanted, stream=True)
        shown = [choice.delta.content or "" async for chunk in stream for choice in chunk.choices]
    assert (reply.choices[0].message.content, "".join(shown)) == ("word", "word")
    assert reply.usage
    assert reply.usage.completion_tokens == len("word END")


@pytest.mark.parametrize(
    ("stop", "said"),
    [(["x"] * 5, "at most 4"), ("x" * 65, "1 to 64"), ("", "1 to 64"), (["a", ""], "1 to 64")],
)  # fmt: skip
async def test_what_is_beyond_the_bounds_is_refused(client: openai.AsyncOpenAI, stop: Any, said: str) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        await client.chat.completions.create(**asked(stop=stop))
    assert caught.value.param == "stop"


async def test_responses_have_no_stop(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/responses", json={"model": "scripted", "input": "why?", "stop": ["END"]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "stop")
