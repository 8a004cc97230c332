"""Uploads hold places, and none for longer than it sends content."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from io import BytesIO

import pytest

from services.gateway.batches import files
from services.gateway.batches.uploads import UploadLimits, Uploads
from tandem.method.errors import InvalidArgument, ResourceExhausted
from tandem.v1 import batch_pb2

BOUND_SECONDS = 20.0
FIRST = batch_pb2.CreateFileRequest(description=batch_pb2.FileDescription(filename="a", purpose="batch"))
QUICK = UploadLimits(silence=timedelta(seconds=0.5), whole=timedelta(seconds=60))


def piece(content: bytes) -> batch_pb2.CreateFileRequest:
    return batch_pb2.CreateFileRequest(content=content)


async def sent(
    *messages: batch_pb2.CreateFileRequest, then: Sequence[batch_pb2.CreateFileRequest] = (), every: float = 0.05
) -> AsyncIterator[batch_pb2.CreateFileRequest]:
    """`messages` at once, and `then` again and again, one each `every` seconds."""
    for message in messages:
        yield message
    while then:
        for message in then:
            await asyncio.sleep(every)
            yield message


async def silent(*messages: batch_pb2.CreateFileRequest) -> AsyncIterator[batch_pb2.CreateFileRequest]:
    for message in messages:
        yield message
    await asyncio.Event().wait()


async def given_up(messages: AsyncIterator[batch_pb2.CreateFileRequest], limits: UploadLimits = QUICK) -> str:
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(ResourceExhausted) as refused:
            await Uploads(limits).receive(messages, BytesIO())
    assert refused.value.reason == "UPLOAD_TOO_SLOW"
    return str(refused.value)


def places(uploads: Uploads, tenant: str, stack: ExitStack) -> int:
    """How many the tenant gets."""
    number = 0
    while True:
        try:
            stack.enter_context(uploads.place(tenant))
        except ResourceExhausted:
            return number
        number += 1


def test_a_tenant_gets_four_places_and_all_tenants_sixteen() -> None:
    uploads = Uploads()
    with ExitStack() as stack:
        assert [places(uploads, tenant, stack) for tenant in "abcde"] == [4, 4, 4, 4, 0]
    with ExitStack() as stack:
        assert places(uploads, "e", stack) == 4


def test_who_gets_no_place_is_told_what_to_do() -> None:
    advice, full = "upload this file when one of them has ended", Uploads(UploadLimits(at_once=0))
    with pytest.raises(ResourceExhausted, match=advice) as refused, full.place("a"):
        pass
    assert (refused.value.reason, refused.value.retry_after_s) == ("TOO_MANY_UPLOADS", 5.0)


def test_callers_without_a_tenant_share_all_places() -> None:
    with ExitStack() as stack:
        assert places(Uploads(), "", stack) == 16


def test_an_upload_that_fails_gives_its_place_back() -> None:
    uploads = Uploads(UploadLimits(of_tenant=1))
    with pytest.raises(OSError, match="full"), uploads.place("a"):
        raise OSError("full")
    with uploads.place("a"):
        pass


async def test_the_content_of_all_messages_is_received_in_order() -> None:
    into = BytesIO()
    named = await Uploads().receive(sent(FIRST, piece(b"one"), piece(b""), piece(b"two")), into)
    assert (named.filename, into.getvalue()) == ("a", b"onetwo")


async def test_an_upload_without_a_description_is_refused() -> None:
    for messages in (sent(), sent(piece(b"one")), sent(batch_pb2.CreateFileRequest())):
        with pytest.raises(InvalidArgument, match="describes the file"):
            await Uploads().receive(messages, BytesIO())


async def test_an_upload_that_falls_silent_is_given_up() -> None:
    for messages in (silent(), silent(FIRST), silent(FIRST, piece(b"one"))):
        assert "no content came for 0.5 s" in await given_up(messages)


async def test_empty_messages_and_further_descriptions_do_not_keep_a_place() -> None:
    for message in (piece(b""), FIRST, batch_pb2.CreateFileRequest()):
        assert "no content came" in await given_up(sent(FIRST, piece(b"one"), then=[message]))


async def test_content_now_and_then_keeps_a_place_until_the_whole_has_taken_too_long() -> None:
    limits, began = UploadLimits(silence=timedelta(seconds=0.5), whole=timedelta(seconds=1.5)), time.monotonic()
    assert "it took 1.5 s" in await given_up(sent(FIRST, then=[piece(b"x")]), limits)
    assert time.monotonic() - began >= 1.5


async def test_an_upload_of_too_many_bytes_is_refused_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    with pytest.raises(InvalidArgument) as refused:
        await Uploads().receive(sent(FIRST, then=[piece(b"x" * 60)]), BytesIO())
    assert refused.value.reason == "FILE_TOO_LARGE"
