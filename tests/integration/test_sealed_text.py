"""With keys, Redis holds no word and no token of a request; the key can change in mid-request; a wrong one is told."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from services.shared.process.temporal import data_converter
from services.shared.request_log.connection import STAGES, Role
from services.shared.request_log.decisions import scored_slot
from services.shared.request_log.streams import Closing
from services.shared.sealing.sealer import Sealer
from tandem import RequestError
from tandem.client.batches import new_batch
from tandem.method.errors import FailedPrecondition
from tandem.method.request.events import Scored
from tests.conftest import Hold
from tests.integration.asking import BOUND_SECONDS, ask, forget
from tests.integration.conftest import TTL, System, run_system
from tests.integration.request_logs import open_log, sealed_logs
from tests.keys import key_file, sealer

pytestmark = pytest.mark.asyncio(loop_scope="session")
LISTED_IDS = re.compile(rb"\[\d+(, \d+)*\]")
NO_WAIT = timedelta(milliseconds=50)


@pytest_asyncio.fixture(loop_scope="session")
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """DUMP without compression, and a slow log of every command."""
    async with Redis.from_url(redis_url) as redis:
        settings = {"rdbcompression": "no", "slowlog-log-slower-than": "0", "slowlog-max-len": "20000"}
        before = {name: (await redis.config_get(name))[name] for name in settings}
        for name, value in settings.items():
            await redis.config_set(name, value)
        yield redis
        for name, value in before.items():
            await redis.config_set(name, value)


async def everything(redis: Redis) -> dict[str, bytes]:
    """All that Redis has, by key: as it dumps it, and the texts of a stream's entries put together."""
    found = {}
    async for key in redis.scan_iter(count=1000):
        dumped = await redis.dump(key) or b""
        if await redis.type(key) == b"stream":
            dumped += b"".join(fields.get(b"text", b"") for _, fields in await redis.xrange(key))
        found[key.decode()] = dumped
    return found


async def slow_log(redis: Redis) -> bytes:
    return b"\n".join(entry["command"] for entry in await redis.slowlog_get(20000))


async def ask_in_every_way(system: System, word: str, hold: Hold) -> list[str]:
    """Ids of a request that was answered, of one cancelled in mid-answer, of a chat, of one with a trial, and of a
    batch.
    """
    script = f"[llm={word}l slm={word}s llm_eos=40 slm_eos=38 scores=16:0.9] {word}q"
    answered = (await ask(system, script, checks=[f"choice:{word}s"]))["request_id"]
    failed = (await ask(system, script, checks=[f"choice:{word}c"]))["request_id"]
    messages = [{"role": "user", "content": script}, {"role": "assistant", "content": f"{word}a"}]
    chat = (await ask(system, [*messages, {"role": "user", "content": f"{word}t"}]))["request_id"]
    cancelled = uuid4().hex
    held = f"[llm={word}l slm={word}s scores=16:0.9 slm_hold=24:{hold}] {word}q"
    asked = asyncio.create_task(ask(system, held, request_id=cancelled))
    async with asyncio.timeout(BOUND_SECONDS):
        while (await system.log.streams.read(cancelled, Role.ANSWER)).tokens < 24:
            await asyncio.sleep(0.01)
    await system.client.cancel(cancelled)
    assert (await asked)["stop"]["reason"] == "cancelled"
    return [answered, failed, chat, cancelled, *await ask_a_batch(system, script)]


async def ask_a_batch(system: System, script: str) -> list[str]:
    async def content() -> AsyncIterator[bytes]:
        yield json.dumps({"id": "one", "question": script}).encode() + b"\n"

    uploaded = await system.client.batches.upload("questions.jsonl", content())
    created = await system.client.batches.create(new_batch(uploaded.file_id))
    async with asyncio.timeout(BOUND_SECONDS):
        while not (batch := await system.client.batches.get(created.batch_id)).HasField("ended_at_unix_ms"):
            await asyncio.sleep(0.05)
    answers = [piece async for piece in system.client.batches.read(batch.output_file_id)]
    return [json.loads(line)["request_id"] for line in b"".join(answers).splitlines()]


async def test_redis_holds_no_word_and_no_token_of_a_request(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path: Path, redis: Redis, checker_address: str,
    hold: Hold,
) -> None:  # fmt: skip
    plain, sealed = f"w{uuid4().hex}"[:16], f"w{uuid4().hex}"[:16]
    for word, keys in ((plain, None), (sealed, sealer("one"))):
        converter = data_converter(key_file(tmp_path, "one") if keys else "")
        async with run_system(
            "scripted-checked", profiles_folder, sealed_logs(redis_url, TTL, keys), temporal_address, checker_address,
            converter=converter, alias=f"sealed-{word}", files=str(tmp_path / word),
        ) as system:  # fmt: skip
            ids = await ask_in_every_way(system, word, hold)
        hold._file.touch()
        found = await everything(redis)
        own = {key: value for key, value in found.items() if any(request_id in key for request_id in ids)}
        for request_id in ids:
            assert f"{{{request_id}}}:decisions" in own
            assert {f"{{{request_id}}}:{role}" for role in Role} & own.keys()
        with_word = {key for key, value in found.items() if word.encode() in value}
        with_ids = {key for key, value in own.items() if LISTED_IDS.search(value)}
        if keys is None:  # what is looked for is there where nothing is encrypted
            assert {f"{{{request_id}}}:decisions" for request_id in ids} <= with_word
            streams = {key for key in own if key.endswith((":insight", ":answer"))}
            assert streams <= with_ids
            assert streams & with_word
            assert word.encode() in await slow_log(redis)
        else:
            assert (with_word, with_ids) == (set(), set())
            assert word.encode() not in await slow_log(redis)


async def test_what_is_written_with_the_old_key_is_read_and_continued_with_the_new_one(redis_url: str) -> None:
    request_id = uuid4().hex
    async with open_log(redis_url, None) as before, open_log(redis_url, sealer("old")) as old:
        unsealed = await before.streams.begin(request_id, Role.INSIGHT, 1, "stage")
        await unsealed.append("plain ", [1], stage=1)
        first = await old.streams.begin(request_id, Role.INSIGHT, 2, "stage")
        await first.append("old ", [2, 3], stage=2)
    async with open_log(redis_url, sealer("new", "old")) as new, open_log(redis_url, sealer("old", "new")) as behind:
        second = await new.streams.begin(request_id, Role.INSIGHT, 3, "stage")
        assert (second.resumption.tokens, second.resumption.stage) == (3, 2)
        await second.append("new", [4], stage=3)
        await second.close(Closing("eos", 0, 1))
        for log in (new, behind):
            seen = await log.streams.read(request_id, Role.INSIGHT)
            assert (seen.text, seen.ids, seen.stage_ends, seen.is_complete) == (
                "plain old new", (1, 2, 3, 4), {1: 1, 2: 3, 3: 4}, True,
            )  # fmt: skip
            assert await log.streams.insight(request_id, 2) == "plain old "
            followed = await anext(log.streams.follow_stages(request_id, NO_WAIT))
            assert followed.text == "plain old new"
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        keys = [fields.get("key") for _, fields in await redis.xrange(f"{{{request_id}}}:{STAGES}")]
        assert [key for key in keys if key is not None] == ["", "old", "new"]


async def test_a_request_is_answered_while_its_processes_change_their_key_one_after_another(
    redis_url: str, temporal_address: str, profiles_folder: Path
) -> None:
    behind, ahead = sealer("old", "new"), sealer("new", "old")
    async with (
        run_system(
            "scripted", profiles_folder, sealed_logs(redis_url, TTL, behind, {"slm-executor": ahead, "gateway": ahead}),
            temporal_address, alias="sealed-rotation",
        ) as system,
        Redis.from_url(redis_url, decode_responses=True) as redis,
    ):  # fmt: skip
        result = await ask(system, "[scores=16:0.9 slm=word_ slm_eos=11] ?")
        assert (result["stop"]["stage"], result["answer"]) == (1, "word word")
        used = {}
        for name in ("insight", "answer", "decisions"):
            entries = await redis.xrange(f"{{{result['request_id']}}}:{name}")
            used[name] = {fields["key"] for _, fields in entries if "key" in fields}
        assert used == {"insight": {"old"}, "answer": {"new"}, "decisions": {"old"}}


async def test_an_answer_by_a_process_without_the_key_does_without_the_insight_and_says_why(
    redis_url: str, temporal_address: str, profiles_folder: Path
) -> None:
    async with (
        run_system(
            "scripted", profiles_folder, sealed_logs(redis_url, TTL, sealer("one"), {"slm-executor": None}),
            temporal_address, alias="sealed-executor",
        ) as system,
    ):  # fmt: skip
        result = await ask(system, "[scores=16:0.9 slm_eos=5] ?")
        assert result["answer"]
        [note] = result["notes"]
        assert "does without the insight" in note
        assert "TANDEM_PAYLOAD_KEYS" in note


async def test_what_a_process_wrote_with_a_key_of_its_own_is_no_answer_and_nothing_waits_for_it(
    redis_url: str, temporal_address: str, profiles_folder: Path
) -> None:
    async with (
        run_system(
            "scripted", profiles_folder, sealed_logs(redis_url, TTL, sealer("one"), {"slm-executor": sealer("other")}),
            temporal_address, alias="sealed-other",
        ) as system,
    ):  # fmt: skip
        with pytest.raises(RequestError, match="the key 'other', which TANDEM_PAYLOAD_KEYS lacks") as caught:
            await ask(system, "[scores=16:0.9 slm_eos=5] ?")
        assert caught.value.reason == "TEXT_UNREADABLE"
        async with asyncio.timeout(BOUND_SECONDS):
            while not system.idle():
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("wrong", [None, sealer("other")], ids=["no key", "another key"])
async def test_a_reader_without_the_key_is_told_at_once_and_another_gets_the_answer(
    redis_url: str, temporal_address: str, profiles_folder: Path, wrong: Sealer | None
) -> None:
    request_id = uuid4().hex
    async with (
        run_system(
            "scripted",
            profiles_folder,
            sealed_logs(redis_url, TTL, sealer("one"), {"gateway": wrong}),
            temporal_address,
            alias=f"sealed-gateway-{wrong is None}",
        ) as system,
    ):
        with pytest.raises(RequestError, match="TANDEM_PAYLOAD_KEYS") as caught:
            await ask(system, "[scores=16:0.9 slm_eos=5] ?", request_id=request_id, keep_running=True)
        assert (caught.value.code, caught.value.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION, "TEXT_UNREADABLE",
        )  # fmt: skip
        found = await system.client.get(request_id)
        async with asyncio.timeout(BOUND_SECONDS):
            while not found.HasField("result"):
                found = await system.client.get(request_id)
        assert found.result.answer


async def test_an_entry_that_was_changed_or_moved_is_refused(redis_url: str) -> None:
    one, two = uuid4().hex, uuid4().hex
    async with open_log(redis_url, sealer("one")) as log, Redis.from_url(redis_url, decode_responses=True) as redis:
        for request_id in (one, two):
            writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token")
            await writer.append(f"of {request_id}", [1])
            await writer.append("next", [2])
        [(first, fields), (second, _)] = await redis.xrange(f"{{{one}}}:answer")
        for request_id, entry_id, text in (
            (one, first, fields["text"][:-8] + "AAAAAAA="),
            (one, first, "not base64"),
            (one, first, ""),
            (one, second, fields["text"]),
            (two, first, fields["text"]),
        ):
            await forget(log, request_id)
            await redis.xadd(f"{{{request_id}}}:answer", {**fields, "text": text}, id=entry_id)
            with pytest.raises(FailedPrecondition, match="was changed"):
                await log.streams.read(request_id, Role.ANSWER)
        await forget(log, two)
        await redis.xadd(f"{{{two}}}:answer", fields, id=first)
        with pytest.raises(FailedPrecondition, match="was changed"):
            await log.streams.tail(two, {Role.ANSWER: "0-0"}, NO_WAIT)


async def test_the_size_of_what_is_encrypted_does_not_tell_one_token_from_another(redis_url: str) -> None:
    request_id = uuid4().hex
    async with open_log(redis_url, sealer("one")) as log, Redis.from_url(redis_url, decode_responses=True) as redis:
        writer = await log.streams.begin(request_id, Role.ANSWER, 1, "token")
        for text, token in (("a", 1), (" internationalization", 128_255), ("é" * 8, 0), ("", 7)):
            await writer.append(text, [token])
        entries = await redis.xrange(f"{{{request_id}}}:answer")
        assert len({len(fields["text"]) for _, fields in entries}) == 1


async def test_a_decision_is_published_once_whatever_the_key(redis_url: str) -> None:
    request_id, slot = uuid4().hex, scored_slot(0)
    first, second = (Scored(0, score, 0.8, False, "untrained", False) for score in (0.5, 0.6))
    async with open_log(redis_url, sealer("old")) as old, open_log(redis_url, sealer("new", "old")) as new:
        assert await old.decisions.publish(request_id, slot, first) is None
        assert await new.decisions.publish(request_id, slot, second) == first
        assert await new.decisions.get(request_id, slot) == first
