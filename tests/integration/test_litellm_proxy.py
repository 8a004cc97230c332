"""Two servers of one model behind LiteLLM's proxy: Tandem sees one endpoint, and the proxy changes over when one of
them fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.models.engine.api import FinishReason
from services.models.engine.remote.api_writer import ApiSettings
from services.models.engine.remote.openai_writer import OpenAIWriter
from tandem.endpoints.address import parse
from tandem.endpoints.probe import Found, probe
from tests.integration.backends import run, writing
from tests.litellm_proxy import KEY, litellm_proxy, needs_litellm
from tests.llama_server import llama_server
from tests.recorded_api import Answer, RecordedApi, recorded_api

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(400), needs_litellm]


def failing(path: str, body: dict[str, Any]) -> Answer:
    return Answer({"error": {"message": "this server is out of order"}}, status=503)


@pytest.fixture(scope="module")
def broken() -> Iterator[RecordedApi]:
    with recorded_api(failing) as api:
        yield api


@pytest.fixture(scope="module")
def proxy(checkpoint: Path, broken: RecordedApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`tiny` is served by llama.cpp; `either` by that server or by one that always fails."""
    with llama_server(checkpoint / "tiny.gguf", "tiny") as url:
        works = {"model": "openai/tiny", "api_base": url, "api_key": "none"}
        fails = {**works, "api_base": f"{broken.url}/v1"}
        models = {"tiny": [works], "either": [works, fails]}
        folder = tmp_path_factory.mktemp("litellm")
        with litellm_proxy(folder, models, {"num_retries": 2, "allowed_fails": 0, "cooldown_time": 60}) as address:
            yield address


@pytest.fixture(scope="module")
def found(proxy: str) -> Iterator[Found]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEY_OF_LITELLM", KEY)
        api = parse(f"{proxy}#tiny", "KEY_OF_LITELLM").api
        assert api is not None
        yield probe(api)


def engine_of(proxy: str, found: Found, model: str = "tiny") -> OpenAIWriter:
    return OpenAIWriter(ApiSettings(model, proxy, KEY, can=found.can))


async def test_the_proxy_is_found_to_do_what_it_passes_on(found: Found) -> None:
    assert found.can.json_schema
    assert found.can.usage != "none"


async def test_an_answer_through_the_proxy_is_counted(proxy: str, found: Found) -> None:
    engine = engine_of(proxy, found)
    engine.start()
    text, tokens, end = await run(engine, writing("a", "why?", 24))
    engine.stop()
    assert end.reason is FinishReason.LENGTH
    assert text
    assert end.usage.completion == tokens == 24
    assert end.usage.read > 0


async def test_the_proxy_changes_over_and_tandem_sees_no_failure(proxy: str, found: Found, broken: RecordedApi) -> None:
    engine = engine_of(proxy, found, "either")
    engine.start()
    for number in range(6):
        _, _, end = await run(engine, writing(f"r{number}", "why?", 8))
        assert end.usage.completion == 8
    engine.stop()
    assert broken.asked  # it was tried
