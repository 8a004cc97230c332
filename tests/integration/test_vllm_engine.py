"""What vLLM alone has to show, where it is installed: what an abort's usage leaves out, and that it deprecates nothing
we send.
"""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import pytest

from services.models.engine.api import EngineError, Finished, FinishReason, RunningModel
from tandem.method.tokens import Sampling
from tests.integration.backends import run, vllm_backend, write, writing

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs tandem-insights[vllm]"),
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(1200),
]
_COUNTING = {
    "scheduler_cls": "tests.counting_scheduler.CountingScheduler",
    "max_num_batched_tokens": 64,
    "async_scheduling": True,
}


async def test_an_abort_leaves_out_two_tokens_at_most_and_none_of_the_prompt(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    with vllm_backend(checkpoint, **_COUNTING).running(stops=True) as engine:
        decoding = await _aborted(engine, "decode", "go on", 5)
        prefilling = await _aborted(engine, "prefill", "x" * 900, 0)
        with pytest.raises(EngineError, match="temperature must be in"):
            await run(engine, writing("hot", "why?", 4, Sampling(2.5)))
    rows = [line.split() for line in (tmp_path / "counted").read_text().splitlines()]
    computed = {name.split("-")[0]: (int(prompt), int(tokens)) for name, prompt, tokens in rows}
    print(computed, decoding.usage, prefilling.usage)
    prompt, tokens = computed["decode"]
    assert (decoding.reason, decoding.usage.prompt + decoding.usage.cached) == (FinishReason.ABORTED, prompt)
    assert (
        0 <= tokens - prompt + 1 - decoding.usage.completion <= 2
    )  # the pass of a prompt's last token gives the first of the text
    prompt, tokens = computed.get("prefill", (prefilling.usage.prompt, 0))
    assert (prefilling.usage.prompt, prefilling.usage.completion) == (prompt, 0)
    assert tokens <= prompt
    assert "deprecated" not in "".join(capfd.readouterr())


async def _aborted(engine: RunningModel, key: str, question: str, after: int) -> Finished:
    """The end of a stream that is aborted when so many tokens have come; 0: as soon as vLLM may have it."""
    stream = write(engine, writing(key, question, 600))
    [await anext(stream) for _ in range(after)]
    item = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    engine.abort(key)
    [end] = [await item, *[each async for each in stream]][-1:]
    assert isinstance(end, Finished)
    return end
