"""Two models behind APIs of others: what is found of them, and what their engine makes of it, with llama.cpp's own HTTP
server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.models.engine.api import Finished, FinishReason
from services.models.engine.llamacpp.engine import LlamaCppEngine
from services.models.engine.remote.api_writer import ApiSettings
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.settings import EngineSettings
from services.models.engine.writer import Earlier
from tandem.endpoints.address import parse
from tandem.endpoints.probe import probe
from tandem.endpoints.requests import EndpointError
from tandem.method.profile.endpoint import Capabilities
from tandem.method.tokens import TokenCounts
from tests.integration.backends import run, write, writing
from tests.llama_server import API_KEY, llama_server
from tests.peer_servers import counter

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]
FOUND = Capabilities(continues="last_message", tokenizes=True, json_schema=True, tools=True, usage="timings")


@pytest.fixture(scope="module")
def server(checkpoint: Path) -> Iterator[str]:
    with llama_server(checkpoint / "tiny.gguf", "tiny") as url:
        yield url


@pytest.fixture(scope="module")
def guarded(checkpoint: Path) -> Iterator[str]:
    with llama_server(checkpoint / "tiny.gguf", "tiny", API_KEY) as url:
        yield url


def engine_of(url: str, can: Capabilities = FOUND) -> OpenAIWriter:
    return OpenAIWriter(ApiSettings("tiny", url, "none", can=can))


def generated_by(url: str) -> int:
    """The server's own counter."""
    return counter(url, "llamacpp:tokens_predicted_total")


async def test_what_llamas_server_can_do_is_found_out(server: str) -> None:
    found = probe(parse(f"{server}#tiny").api)  # type: ignore[arg-type]
    assert found.can == FOUND.model_copy(update={"tools": found.can.tools})  # whose template renders none
    assert found.can.cut_bill == "exact"
    assert found.can.handoff == "continuation"
    assert found.context_length == 2048


async def test_a_model_that_the_endpoint_has_not_is_named_with_those_that_it_has(server: str) -> None:
    with pytest.raises(EndpointError, match="has no model 'other'; it has: tiny"):
        probe(parse(f"{server}#other").api)  # type: ignore[arg-type]


async def test_a_key_comes_from_its_variable_and_stands_in_no_error(
    guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = parse(f"{guarded}#tiny", "KEY_OF_TESTS").api
    assert api is not None
    with pytest.raises(EndpointError, match="KEY_OF_TESTS holds no key"):
        probe(api)
    monkeypatch.setenv("KEY_OF_TESTS", "a-wrong-one")
    with pytest.raises(EndpointError, match="refuses the key in KEY_OF_TESTS") as refused:
        probe(api)
    assert "a-wrong-one" not in str(refused.value)
    monkeypatch.setenv("KEY_OF_TESTS", API_KEY)
    assert probe(api).can.cut_bill == "exact"


async def test_an_endpoint_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(EndpointError, match="does not answer"):
        probe(parse("http://127.0.0.1:9/v1#tiny").api)  # type: ignore[arg-type]


async def test_the_text_and_the_counts_are_those_of_the_same_model_as_an_engine(server: str, checkpoint: Path) -> None:
    own = LlamaCppEngine(EngineSettings(checkpoint, "tiny"))
    remote = engine_of(server)
    for engine in (own, remote):
        engine.start()
    try:
        ours = await run(own, writing("a", "why?", 24))
        theirs = await run(remote, writing("b", "why?", 24))
    finally:
        for engine in (own, remote):
            engine.stop()
    assert ours[2].usage.generated == theirs[2].usage.generated == theirs[1]
    assert ours[2].usage.read == theirs[2].usage.read
    assert not theirs[2].usage.is_estimated


async def test_a_cut_stream_is_billed_exactly_where_each_piece_is_counted(server: str) -> None:
    engine = engine_of(server)
    engine.start()
    before = generated_by(server)
    _, seen, end = await run(engine, writing("cut", "why?", 1000), abort_at=20)
    engine.stop()
    assert end.reason is FinishReason.ABORTED
    assert (end.usage.completion, end.usage.is_estimated) == (seen, False)
    assert end.usage.read > 0
    assert generated_by(server) - before < seen + 20  # it stops soon; what it counts after the cut nobody reads


async def test_without_such_counts_the_bill_of_a_cut_stream_says_that_it_is_estimated(server: str) -> None:
    engine = engine_of(server, FOUND.model_copy(update={"usage": "at_end"}))
    engine.start()
    stream = write(engine, writing("cut", "why?", 1000))
    async for _ in stream:
        engine.abort("cut")
        break
    ends = [item async for item in stream if isinstance(item, Finished)]
    engine.stop()
    assert ends[0].usage.is_estimated


async def test_a_begun_turn_goes_on_and_no_word_of_ours_is_in_the_prompt(server: str) -> None:
    engine = engine_of(server)
    engine.start()
    plain = writing("plain", "why?", 1)
    begun = replace(plain, id="begun", earlier=Earlier("a", (0,)))
    in_words = engine_of(server, FOUND.model_copy(update={"continues": "no"}))
    in_words.start()
    ends = [(await run(each, work))[2].usage for each, work in ((engine, plain), (engine, begun), (in_words, begun))]
    engine.stop()
    in_words.stop()
    assert ends[1].read == ends[0].read + 1
    assert ends[2].read > ends[1].read + 20


async def test_a_text_is_held_to_a_schema(server: str) -> None:
    engine = engine_of(server)
    engine.start()
    schema = json.dumps(
        {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"], "additionalProperties": False}
    )
    text, _, _ = await run(engine, replace(writing("s", "why?", 200), json_schema=schema))
    engine.stop()
    assert json.loads(text) == {"a": 1}


async def test_a_prefill_asks_nothing_of_an_api(server: str) -> None:
    engine = engine_of(server)
    engine.start()
    before = generated_by(server)
    assert (await run(engine, writing("p", "x", 0)))[2].usage == TokenCounts()
    engine.stop()
    assert generated_by(server) == before
