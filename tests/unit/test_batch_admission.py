"""The admission of batches: in threads of its own, and refused before a file is read."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from services.gateway.__main__ import tenants_in
from services.gateway.batched import BatchedRequests
from services.gateway.batches.admitted import Admit, Start
from services.gateway.batches.batches import Batch, Batches, Terms, Threads
from services.gateway.batches.files import Files
from services.gateway.tenancy import Tenancy
from services.shared.file_store.records import BatchRecord, Records
from services.shared.file_store.store import FileStore
from services.shared.identity.caller import ADMIN, ANONYMOUS, Caller, Owned
from tandem.access.tenants import TenantFile
from tandem.method.errors import FailedPrecondition, NotFound
from tandem.method.request.batch import BatchProgress

BOUND_SECONDS = 20.0
MORE_THAN_ANY_POOL = 40
ACME = Caller("acme")


class Workflows:
    """In Temporal's place: every batch runs."""

    async def start(self, *_: Any) -> None:
        pass

    async def progress(self, batch_id: str) -> BatchProgress:
        return BatchProgress()


@dataclass
class Gate:
    """Admission that waits until the gate opens."""

    is_open: threading.Event
    most_waiting: int = 0
    waiting: int = 0

    def admit(self, *_: Any) -> Start:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        self.is_open.wait(BOUND_SECONDS)
        self.waiting -= 1
        raise NotFound("refused in the end")


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate(threading.Event())
    yield gate
    gate.is_open.set()


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(str(tmp_path))


def never(*_: Any) -> Start:
    raise AssertionError("no line is admitted")


def batches(store: FileStore, admit: Admit, require_allowed: Callable[[Caller], None] = lambda _: None) -> Batches:
    return Batches(store, cast(Any, Workflows()), admit, require_allowed)


def refuse(caller: Caller) -> None:
    raise FailedPrecondition(f"not for {caller.tenant}", reason="BATCHES_NOT_LIMITED")


def made(batches: Batches, file_id: str, batch_id: str = "b") -> asyncio.Task[Batch]:
    asked = batches.create(Owned("acme", batch_id), Owned("acme", file_id), Terms(), ACME)
    return asyncio.create_task(asked)


async def test_batches_that_are_admitted_leave_the_common_threads_to_others(store: FileStore, gate: Gate) -> None:
    file = Files(store).create("acme", "a", "batch", [b'{"question": "why?"}\n'])
    tested = batches(store, gate.admit)
    asked = [made(tested, file.file_id, f"b{number}") for number in range(MORE_THAN_ANY_POOL)]
    async with asyncio.timeout(BOUND_SECONDS):
        while gate.waiting < 2:
            await asyncio.sleep(0.01)
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.01) for _ in range(MORE_THAN_ANY_POOL)))
        assert not gate.is_open.is_set()
        gate.is_open.set()
        await asyncio.gather(*asked, return_exceptions=True)
    assert gate.most_waiting == 2


async def test_a_call_that_nobody_waits_for_any_more_does_not_begin() -> None:
    threads, is_open, begun = Threads(1, "test"), threading.Event(), []
    first = asyncio.create_task(threads.call(is_open.wait, BOUND_SECONDS))
    second = asyncio.create_task(threads.call(begun.append, 2))
    await asyncio.sleep(0.05)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    is_open.set()
    assert await first
    await threads.call(begun.append, 3)
    assert begun == [3]


async def test_a_caller_who_may_have_no_batch_is_refused_before_the_file_is_read(store: FileStore) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        await made(batches(store, never, refuse), "file-that-is-not-there")
    assert refused.value.reason == "BATCHES_NOT_LIMITED"


@pytest.mark.parametrize(
    ("caller", "is_refused"),
    [(ACME, True), (Caller("free"), False), (Caller("acme", frozenset({ADMIN})), False), (ANONYMOUS, False)],
    ids=str,
)
def test_whoever_names_no_other_tenant_is_refused_by_the_limits_of_its_own(
    tmp_path: Path, caller: Caller, is_refused: bool
) -> None:
    file = TenantFile(tmp_path / "tenants.json")
    file.set("acme", {"concurrent_requests": 1})
    tenancy = Tenancy(tenants_in(file.path), cast(Any, None), cast(Any, None))
    requests = BatchedRequests(
        cast(Any, None), cast(Any, None), tenancy, cast(Any, None), cast(Any, None), cast(Any, None)
    )
    with pytest.raises(FailedPrecondition, match="one by one") if is_refused else nullcontext():
        requests.require_allowed(caller)


async def test_a_batch_that_was_allowed_is_joined_though_no_new_one_would_be(store: FileStore) -> None:
    files = Files(store)
    file = files.create("acme", "a", "batch", [b'{"question": "why?"}\n'])
    fingerprint = Terms().fingerprint(files.digest(Owned("acme", file.file_id)))
    record = BatchRecord("b", "tenant-acme/batches/b", fingerprint, "p", file.file_id, 1, 8, None, time.time(), 0.0, {})
    Records(store).write_batch("acme", record)
    assert (await made(batches(store, never, refuse), file.file_id)).record == record


def test_a_files_digest_is_that_of_its_bytes(store: FileStore) -> None:
    file = Files(store).create("acme", "a", "batch", [b"x" * 300_000, b"\ny"])
    expected = hashlib.sha256(b"x" * 300_000 + b"\ny").hexdigest()
    assert Files(store).digest(Owned("acme", file.file_id)) == expected
