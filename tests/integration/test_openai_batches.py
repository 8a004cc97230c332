"""OpenAI's own client against /v1/files and /v1/batches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
import pytest_asyncio
from openai.types import Batch

from services.shared.identity.authentication import ApiKeys, Authentication
from tandem.access.keys import KeyFile
from tests.integration.conftest import run_system
from tests.integration.edge import serving
from tests.integration.test_batch import QUICK
from tests.integration.test_batch import openai as openai_line

pytestmark = pytest.mark.asyncio(loop_scope="session")
TENANTS = ("acme", "other")
ENDED = ("completed", "failed", "expired", "cancelled")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def clients(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, openai.AsyncOpenAI]]:
    """OpenAI's client for each tenant, and for nobody, of a system that asks for keys."""
    folder = tmp_path_factory.mktemp("batches")
    keys = KeyFile(folder / "keys.json")
    secrets = {tenant: keys.create(tenant)[1] for tenant in TENANTS} | {"nobody": "none"}
    authentication = Authentication(ApiKeys(keys.path))
    running = run_system(
        "scripted", profiles_folder, redis_url, temporal_address,
        authentication=authentication, alias="batch", files=str(folder / "files"),
    )  # fmt: skip
    async with running as system, serving(system.client.address) as http:
        made = {
            name: openai.AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key=key, max_retries=0)
            for name, key in secrets.items()
        }
        yield made
        for client in made.values():
            await client.close()


def content(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def create(client: openai.AsyncOpenAI, lines: bytes, **options: Any) -> Batch:
    file = await client.files.create(file=("questions.jsonl", lines), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", **options
    )


async def end(client: openai.AsyncOpenAI, batch: Batch) -> Batch:
    async with asyncio.timeout(120):
        while batch.status not in ENDED:
            await asyncio.sleep(0.05)
            batch = await client.batches.retrieve(batch.id)
    return batch


async def test_a_batch_from_upload_to_answers(clients: dict[str, openai.AsyncOpenAI]) -> None:
    client, name = clients["acme"], uuid4().hex
    lines = content(
        *(openai_line(f"{name}-{number}") for number in range(3)), openai_line("bad", "[fail=slm scores=0:0.9]")
    )
    batch = await create(client, lines, metadata={"name": name}, extra_body={"tandem": {"max_cost_usd": 1}})
    assert (batch.object, batch.status, batch.completion_window, batch.model) == (
        "batch",
        "in_progress",
        "24h",
        "scripted-batch",
    )
    batch = await end(client, batch)
    assert batch.status == "completed"
    assert batch.request_counts
    assert (batch.request_counts.completed, batch.request_counts.failed, batch.request_counts.total) == (3, 1, 4)
    assert batch.metadata == {"name": name}
    assert batch.completed_at
    assert batch.output_file_id
    assert batch.error_file_id
    answers = [json.loads(line) for line in (await client.files.content(batch.output_file_id)).text.splitlines()]
    assert [answer["custom_id"] for answer in answers] == [f"{name}-{number}" for number in range(3)]
    parsed = [openai.types.chat.ChatCompletion.model_validate(a["response"]["body"]) for a in answers]
    assert {completion.choices[0].message.content for completion in parsed} == {"y y"}
    [error] = [json.loads(line) for line in (await client.files.content(batch.error_file_id)).text.splitlines()]
    assert error["error"]["code"] == "slm_unavailable"
    spent = sum(answer["response"]["body"]["usage"]["cost"] for answer in answers) + error["cost_usd"]
    assert batch.tandem["cost_usd"] == pytest.approx(spent)  # type: ignore[attr-defined]
    assert batch.id in [each.id async for each in client.batches.list(limit=1)]


async def test_files_are_listed_read_and_deleted(clients: dict[str, openai.AsyncOpenAI]) -> None:
    client, text = clients["acme"], content(openai_line("a"))
    file = await client.files.create(file=("mine.jsonl", text), purpose="batch")
    assert (file.filename, file.bytes, file.purpose, file.object) == ("mine.jsonl", len(text), "batch", "file")
    assert (await client.files.retrieve(file.id)) == file
    assert (await client.files.content(file.id)).content == text
    assert file.id in [each.id async for each in client.files.list(purpose="batch", limit=1)]
    assert (await client.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(file.id)


async def test_a_batch_is_cancelled(clients: dict[str, openai.AsyncOpenAI]) -> None:
    client = clients["acme"]
    batch = await create(client, content(*(openai_line(str(n), "[scores=0:0.9 slm_hold=2]") for n in range(3))))
    assert (await client.batches.cancel(batch.id)).status == "cancelling"
    assert (await end(client, batch)).status == "cancelled"


async def test_bad_lines_are_a_bad_request_that_names_them(clients: dict[str, openai.AsyncOpenAI]) -> None:
    with pytest.raises(openai.BadRequestError, match=r"line 2: .*logprobs") as refused:
        await create(clients["acme"], content(openai_line("a"), openai_line("b", logprobs=True)))
    assert (refused.value.param, refused.value.code) == ("input_file_id", "bad_lines")


async def test_what_is_not_supported_is_refused_by_name(clients: dict[str, openai.AsyncOpenAI]) -> None:
    client = clients["acme"]
    for options, param in (
        ({"purpose": "fine-tune"}, "purpose"),
        ({"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": 3600}}, "expires_after[anchor]"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.files.create(file=("a", b"{}"), **options)  # type: ignore[call-overload]
        assert refused.value.param == param
    file = await client.files.create(file=("a", content(openai_line("a"))), purpose="batch")
    for endpoint, window, param in (
        ("/v1/embeddings", "24h", "endpoint"),
        ("/v1/chat/completions", "soon", "completion_window"),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            await client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window=window)  # type: ignore[arg-type]
        assert refused.value.param == param


async def test_another_tenants_files_and_batches_are_unknown(clients: dict[str, openai.AsyncOpenAI]) -> None:
    owner, other = clients["acme"], clients["other"]
    batch = await end(owner, await create(owner, content(openai_line("a", QUICK))))
    assert batch.output_file_id
    unknown = f"file-{uuid4().hex}"
    for ask in (
        lambda: other.batches.retrieve(batch.id),
        lambda: other.batches.cancel(batch.id),
        lambda: other.files.retrieve(batch.input_file_id),
        lambda: other.files.content(batch.output_file_id or ""),
        lambda: other.files.delete(batch.input_file_id),
        lambda: other.batches.create(
            input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
        ),
    ):
        with pytest.raises(openai.NotFoundError):
            await ask()
    assert [each async for each in other.batches.list()] == []
    assert [each async for each in other.files.list()] == []
    with pytest.raises(openai.NotFoundError, match=unknown):
        await other.files.retrieve(unknown)


async def test_nobody_uploads_reads_or_asks(clients: dict[str, openai.AsyncOpenAI]) -> None:
    nobody = clients["nobody"]
    with pytest.raises(openai.AuthenticationError):
        await nobody.files.create(file=("a", b"{}"), purpose="batch")
    with pytest.raises(openai.AuthenticationError):
        await nobody.files.content("file-1")
    with pytest.raises(openai.AuthenticationError):
        await nobody.batches.list()


async def test_an_upload_that_does_not_say_its_length_is_refused_unread(
    clients: dict[str, openai.AsyncOpenAI],
) -> None:
    client = clients["acme"]

    async def endless() -> AsyncIterator[bytes]:
        yield b"--x"

    headers = {"authorization": f"Bearer {client.api_key}", "content-type": "multipart/form-data; boundary=x"}
    async with httpx.AsyncClient() as http:
        reply = await http.post(f"{client.base_url}files", headers=headers, content=endless())
        assert reply.status_code == 413


async def test_an_idempotency_key_is_the_batches_id(clients: dict[str, openai.AsyncOpenAI]) -> None:
    client, key = clients["acme"], f"mine-{uuid4().hex}"
    file = await client.files.create(file=("a", content(openai_line("a"))), purpose="batch")
    made = [
        await client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            extra_headers={"Idempotency-Key": key},
        )
        for _ in range(2)
    ]
    assert [batch.id for batch in made] == [key, key]
    assert (await end(client, made[0])).status == "completed"


@pytest.mark.parametrize("count", [1001, 2**32, 10**40])
async def test_counts_that_are_too_large_are_refused_by_name(
    clients: dict[str, openai.AsyncOpenAI], count: int
) -> None:
    client = clients["acme"]
    for refused, param in (
        (lambda: client.files.list(limit=count), "limit"),
        (lambda: client.batches.list(limit=count), "limit"),
        (lambda: create(client, content(), extra_body={"tandem": {"concurrency": count}}), "tandem.concurrency"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            await refused()
        assert str(caught.value.param).endswith(param), caught.value
