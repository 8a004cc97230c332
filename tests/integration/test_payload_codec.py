"""What Temporal keeps of a request is encrypted, and the key can change while requests run."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client as TemporalClient
from temporalio.converter import DataConverter

from services.shared.process.temporal import data_converter
from tandem import RequestError
from tandem.method.errors import FailedPrecondition
from tests.integration.asking import BOUND_SECONDS, ask
from tests.integration.conftest import run_system

pytestmark = pytest.mark.asyncio(loop_scope="session")
QUESTION = "[scores=16:0.9 slm_eos=5] who wrote the confidential memorandum?"
SECRET_WORDS = (b"confidential memorandum", b"scores=16")


def keys(folder: Path, active: str, names: list[str]) -> DataConverter:
    file = folder / f"{active}.json"
    values = {name: base64.b64encode(name.encode().ljust(32, b".")).decode() for name in names}
    file.write_text(json.dumps({"active": active, "keys": values}))
    return data_converter(str(file))


async def history(address: str, request_id: str) -> bytes:
    """All that Temporal has of a request, as it has it."""
    handle = (await TemporalClient.connect(address)).get_workflow_handle(request_id)
    events = [event.SerializeToString() async for event in handle.fetch_history_events()]
    return b"".join([*events, (await handle.describe()).raw_description.SerializeToString()])


async def test_temporal_holds_no_word_of_a_request(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    converter = keys(tmp_path, "old", ["old"])
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, converter=converter, alias="codec-1"
    ) as system:
        result = await ask(system, QUESTION)
        failing = uuid4().hex
        with pytest.raises(RequestError, match="no answer"):
            await ask(system, "[fail=slm] confidential memorandum", request_id=failing, max_llm_tokens=0)
        for request_id in (result["request_id"], failing):
            kept = await history(temporal_address, request_id)
            assert kept
            for word in (*SECRET_WORDS, result["answer"].encode()[:20]):
                assert word not in kept
    async with run_system("scripted", profiles_folder, redis_url, temporal_address, alias="codec-2") as system:
        plain = await ask(system, QUESTION)
        assert SECRET_WORDS[0] in await history(temporal_address, plain["request_id"])


async def test_a_request_is_read_with_the_key_that_it_was_written_with(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    async with run_system("scripted", profiles_folder, redis_url, temporal_address, alias="codec-3") as system:
        plain = await ask(system, QUESTION)
    old = keys(tmp_path, "old", ["old"])
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, converter=old, alias="codec-4"
    ) as system:
        first = await ask(system, QUESTION)
    new = keys(tmp_path, "new", ["old", "new"])
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, converter=new, alias="codec-5"
    ) as system:
        second = await ask(system, QUESTION)
        for earlier in (plain, first, second):
            found = (await system.client.get(earlier["request_id"])).result
            assert found.answer == earlier["answer"]
    assert b"new" in await history(temporal_address, second["request_id"])


async def test_a_request_whose_key_is_gone_does_not_hide_others_from_a_list(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path
) -> None:
    gone = keys(tmp_path, "gone", ["gone"])
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, converter=gone, alias="codec-6"
    ) as system:
        lost = (await ask(system, QUESTION))["request_id"]
    async with run_system("scripted", profiles_folder, redis_url, temporal_address, alias="codec-7") as system:
        read = (await ask(system, QUESTION))["request_id"]
        async with asyncio.timeout(BOUND_SECONDS):
            while not {lost, read} <= {row.request_id for row in (await system.client.list(limit=1000)).requests}:
                await asyncio.sleep(0.05)


async def test_a_changed_payload_and_an_unknown_key_are_refused(tmp_path: Path) -> None:
    converter = keys(tmp_path, "one", ["one"])
    [payload] = await converter.encode(["text"])
    assert await converter.decode([payload], [str]) == ["text"]
    with pytest.raises(FailedPrecondition, match="lacks"):
        await keys(tmp_path, "two", ["two"]).decode([payload], [str])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    with pytest.raises(FailedPrecondition, match="was changed"):
        await converter.decode([payload], [str])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"active": "a", "keys": {}}',
        '{"active": "a", "keys": {"a": "c2hvcnQ="}}',
        '{"active": "a", "keys": {"a": "!"}}',
    ],
)
async def test_a_file_without_usable_keys_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="TANDEM_PAYLOAD_KEYS"):
        data_converter(str(file))
    with pytest.raises(ValueError, match="TANDEM_PAYLOAD_KEYS"):
        data_converter(os.fspath(tmp_path / "none"))
