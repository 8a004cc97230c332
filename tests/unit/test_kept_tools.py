"""What was read of tools is read once for each tenant: counted in tokens, on llama.cpp."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.models.engine.api import CacheUse, GenerationRequest
from services.models.engine.batch import generate
from services.models.engine.llamacpp.engine import LlamaCppEngine
from services.models.engine.settings import EngineSettings
from services.models.engine.tokenizer import FileTokenizer
from tandem.method.conversation import Message
from tandem.method.profile.profile import load_profile
from tandem.method.request.prompts import insight_prompt
from tandem.method.tools import Tool, ToolUse
from tests.steps import asks
from tests.tiny_gguf import write_tiny_gguf
from tests.tiny_model import random_prompt, write_tiny_model
from tests.unit.test_call_format import TEMPLATES

TOOLS = random_prompt(1, 300)
PROFILES = Path(__file__).parents[1] / "profiles"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_tiny_model(tmp_path_factory.mktemp("tiny"), head_dim=32)
    write_tiny_gguf(folder)
    return folder


@contextmanager
def running(checkpoint: Path, **settings: Any) -> Iterator[LlamaCppEngine]:
    """No conversation stays cached but the last one."""
    engine = LlamaCppEngine(EngineSettings(checkpoint, "tiny", conversation_cache_bytes=1, **settings))
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


async def read(
    engine: LlamaCppEngine, key: str, *, owner: str = "ada", shared: int = len(TOOLS)
) -> tuple[int, tuple[int, ...]]:
    """How many tokens a new conversation with the same tools reads, and what it says; `key` makes it another one."""
    prompt = (*TOOLS[:shared], *random_prompt(ord(key), 40)) if shared else random_prompt(ord(key), 340)
    request = GenerationRequest(key, prompt, 8, cache=CacheUse(owner, is_kept=True, num_shared=shared))
    done = await generate(engine, request)
    return done.usage.prompt, tuple(done.ids)


async def test_a_new_conversation_reads_no_tools_that_its_tenant_has_shown(checkpoint: Path) -> None:
    with running(checkpoint) as engine:
        assert (await read(engine, "a"))[0] == 340
        await read(engine, "z", shared=0)  # another conversation takes the place of the first
        assert (await read(engine, "b"))[0] == 40
        assert (await read(engine, "c", owner="bob"))[0] == 340
        await asyncio.gather(*(read(engine, key) for key in "defg"))
        assert (await read(engine, "h", owner="bob"))[0] == 40


async def test_after_a_restart_it_reads_no_tools_either_and_says_the_same(checkpoint: Path, tmp_path: Path) -> None:
    with running(checkpoint) as engine:
        plain = [await read(engine, key) for key in "ab"]
    with running(checkpoint, saved_prefixes=tmp_path) as engine:
        assert await read(engine, "a") == plain[0]
    assert stat.S_IMODE((tmp_path / "tiny").stat().st_mode) == 0o700
    with running(checkpoint, saved_prefixes=tmp_path) as engine:
        assert await read(engine, "b") == (40, plain[1][1])
        assert (await read(engine, "c", owner="bob"))[0] == 340


async def test_what_another_model_saved_or_a_crash_cut_is_removed(checkpoint: Path, tmp_path: Path) -> None:
    with running(checkpoint, saved_prefixes=tmp_path) as engine:
        await read(engine, "a")
    [header] = (tmp_path / "tiny").glob("*.json")
    header.write_text(header.read_text()[:-9])
    with running(checkpoint, saved_prefixes=tmp_path) as engine:
        assert list((tmp_path / "tiny").iterdir()) == []
        assert (await read(engine, "b"))[0] == 340
    with running(checkpoint, saved_prefixes=tmp_path, repack=True) as engine:
        assert list((tmp_path / "tiny").iterdir()) == []


async def test_the_files_are_bounded_and_the_oldest_goes_first(checkpoint: Path, tmp_path: Path) -> None:
    with running(checkpoint, saved_prefixes=tmp_path, saved_bytes=1) as engine:
        for key, shared in (("a", 300), ("b", 200), ("c", 100)):
            await read(engine, key, shared=shared, owner=key)
        assert len(list((tmp_path / "tiny").glob("*.json"))) == 1
        assert (await read(engine, "d", shared=100, owner="c"))[0] == 40


def test_the_shared_part_of_a_prompt_ends_with_the_tools_and_the_system_message(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path)
    (folder / "chat_template.jinja").write_text((TEMPLATES / "tags.jinja").read_text())
    profile, tokenizer = load_profile("scripted", (PROFILES,)), FileTokenizer.load(folder)
    tools = ToolUse((Tool("look", "Looks <here>.", '{"type": "object", "properties": {"at": {"type": "string"}}}'),))
    system = Message("system", "Be <brief>.")
    prompts = [
        insight_prompt(profile, asks(question, task="chat", history=[system, *said], tools=tools)).encoded(tokenizer)
        for question, said in (("Who?", []), ("Why <x>?", [Message("user", "Hm <y>."), Message("assistant", "Yes.")]))
    ]
    first, second = (prompt.ids[: prompt.num_shared] for prompt in prompts)
    assert first == second
    text = tokenizer.decode(first)
    assert "Looks <here>." in text
    assert "Be <brief>." in text
    assert "Who?" not in text
    assert insight_prompt(profile, asks("Who?", task="chat", history=[system])).encoded(tokenizer).num_shared < len(
        first
    )
