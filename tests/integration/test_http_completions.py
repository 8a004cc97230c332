"""POST /v1/completions: a text for a text, in OpenAI's older dialect."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_text_is_answered_by_a_text_whole_and_streamed(http: httpx.AsyncClient) -> None:
    asked: dict[str, Any] = {"model": "scripted", "prompt": ["[scores=0:0.9 slm_eos=4] why?"], "max_tokens": 64}
    async with openai.AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="none", max_retries=0) as client:
        whole = await client.completions.create(**asked)
        chunks = [chunk async for chunk in await client.completions.create(**asked, stream=True)]
        assert (whole.object, whole.choices[0].finish_reason) == ("text_completion", "stop")
        assert whole.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks) != ""
        assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
        assert whole.usage is not None
        assert whole.usage.completion_tokens > 0
        unasked: dict[str, Any] = {"echo": False, "best_of": 1, "n": 1, "suffix": "", "logprobs": None}
        assert (await client.completions.create(**asked, **unasked)).choices[0].text == whole.choices[0].text


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"logprobs": 0}, "logprobs"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [[1]]}, "prompt"),
    ],
)
async def test_what_would_change_a_completions_meaning_is_refused_by_name(
    http: httpx.AsyncClient, more: dict[str, Any], named: str
) -> None:
    reply = await http.post("/v1/completions", json={"model": "scripted", "prompt": "why?"} | more)
    assert reply.status_code == 400, reply.text
    assert str(reply.json()["error"]["param"]).startswith(named)
