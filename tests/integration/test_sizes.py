"""How long a conversation of an agent may be: what its profile says, over every wire in between."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.conftest import System
from tests.integration.test_http_tools import MODEL, ONE, TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="session")
MOST = 32_000


@pytest.fixture(autouse=True)
def roomy(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile as the shipped one; a token is a byte here."""
    profiles = system.service._admission.profiles  # one mapping, which the policies read too
    profile = profiles["scripted"]
    execution = profile.execution.model_copy(update={"max_tokens": 400})
    large = profile.model_copy(update={"max_conversation_tokens": MOST, "execution": execution})
    monkeypatch.setitem(profiles, "scripted", large)


def chat(tokens: int) -> dict[str, object]:
    """A first message of so many tokens, its tools not counted."""
    return {"model": MODEL, "messages": [{"role": "user", "content": ONE.ljust(tokens)}], "tools": TOOLS}


async def test_an_agents_first_message_may_be_as_long_as_the_conversation(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/chat/completions", json=chat(MOST - 500))
    assert reply.json()["choices"][0]["message"]["tool_calls"]
    assert reply.json()["usage"]["prompt_tokens"] > MOST - 500


async def test_what_is_too_long_is_told_by_how_much(http: httpx.AsyncClient) -> None:
    def excess(reply: httpx.Response) -> int:
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == (400, "context_length_exceeded")
        assert f"profile scripted takes {MOST}" in error["message"]
        return int(error["message"].partition(" too many")[0].split()[-1])

    by_little = excess(await http.post("/v1/chat/completions", json=chat(MOST)))
    assert 0 < by_little < 500
    assert excess(await http.post("/v1/chat/completions", json=chat(MOST + 1000))) == by_little + 1000
    fits = await http.post("/v1/chat/completions", json=chat(MOST - by_little))
    assert fits.status_code == 200
