"""What is found of vLLM's own server, and what an engine makes of it; on a CPU, where `make tools TOOLS=vllm` has
installed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.models.engine.api import FinishReason
from services.models.engine.remote.api_writer import ApiSettings
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.writer import Earlier
from tandem.endpoints.address import parse
from tandem.endpoints.probe import probe
from tandem.method.profile.endpoint import Capabilities
from tests.integration.backends import run, writing
from tests.peer_servers import counter
from tests.tiny_model import write_tiny_model
from tests.vllm_server import needs_vllm, vllm_server

pytestmark = [needs_vllm, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]
FOUND = Capabilities(
    continues="flag",
    prompt_scores=True,
    tokenizes=True,
    json_schema=True,
    tools=True,
    usage="continuous",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("vllm")
    model = write_tiny_model(folder / "tiny", head_dim=32)
    tools = ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]
    with vllm_server(model, "tiny", folder / "log", "--enforce-eager", *tools) as url:
        yield url


@pytest.fixture
def engine(server: str) -> Iterator[OpenAIWriter]:
    engine = OpenAIWriter(ApiSettings("tiny", server, "none", can=FOUND))
    engine.start()
    yield engine
    engine.stop()


def generated_by(url: str) -> int:
    """The server's own counter."""
    return counter(url, "vllm:generation_tokens_total")


async def test_what_vllms_server_can_do_is_found_out(server: str) -> None:
    found = probe(parse(f"{server}#tiny").api)  # type: ignore[arg-type]
    assert found.can == FOUND.model_copy(update={"tools": found.can.tools})  # whose template renders none
    assert (found.can.cut_bill, found.can.handoff) == ("exact", "continuation")
    assert found.context_length == 2048


async def test_a_whole_stream_is_billed_as_the_server_counts(server: str, engine: OpenAIWriter) -> None:
    before = generated_by(server)
    _, seen, end = await run(engine, writing("a", "why?", 24))
    assert (seen, end.usage.generated, end.usage.is_estimated) == (24, 24, False)
    assert generated_by(server) - before == 24


async def test_a_cut_stream_is_billed_exactly_as_far_as_it_was_sent(server: str, engine: OpenAIWriter) -> None:
    before = generated_by(server)
    _, seen, end = await run(engine, writing("cut", "why?", 1000), abort_at=20)
    assert (end.reason, end.usage.completion, end.usage.is_estimated) == (FinishReason.ABORTED, seen, False)
    assert end.usage.read > 0
    assert generated_by(server) - before < seen + 20  # it stops soon; what it counts after the cut nobody reads


async def test_a_begun_turn_goes_on_by_the_flag(engine: OpenAIWriter) -> None:
    plain = writing("plain", "why?", 1)
    begun = replace(plain, id="begun", earlier=Earlier("a", (0,)))
    ends = [(await run(engine, work))[2].usage for work in (plain, begun)]
    assert ends[1].read == ends[0].read + 1
