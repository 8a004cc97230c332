"""Batches of a tenant: made, looked at, cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from services.gateway.batches.admitted import Admit, BatchAdmission, RequireAllowed, write_pages
from services.gateway.batches.files import Files, following
from services.gateway.batches.temporal import BatchWorkflows, reused
from services.shared.file_store import paths
from services.shared.file_store.records import BatchRecord, Records
from services.shared.file_store.store import FileStore
from services.shared.identity.caller import Caller, Owned
from tandem.method.errors import NotFound
from tandem.method.request.batch import BatchProgress, BatchState, BatchTask

T = TypeVar("T")
_BEGINS_SECONDS = 120.0  # at most, from a batch's record to its workflow
_ADMITTED_AT_ONCE = 2  # batches, each in a thread: reading and tokenising all lines of one takes up to minutes
_UNKNOWN = BatchProgress(
    BatchState.FAILED, error="Temporal does not know this batch: it never began, or its record is gone"
)


class Threads:
    """Run at most `most` calls at once; others wait for them.

    In the pool of `asyncio.to_thread` they would delay what shares it: admission of requests, checks of tokens, reads
    of files.
    """

    def __init__(self, most: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(most, thread_name_prefix=name)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call as `asyncio.to_thread` does: the caller's context goes along. Raises what `function` raises."""
        bound = partial(copy_context().run, function, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._executor, bound)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a batch is made with, besides its file. `window_seconds` 0: no limit."""

    max_cost_usd: float | None = None
    concurrency: int = 8
    window_seconds: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self, digest: str) -> str:
        """Distinguishes a repeated batch from another one under the same id; `digest` is the file's."""
        terms: list[Any] = [digest, self.max_cost_usd, self.concurrency, self.window_seconds, dict(self.metadata)]
        return hashlib.sha256(json.dumps(terms, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch with what has become of it so far."""

    record: BatchRecord
    progress: BatchProgress


class Batches:
    def __init__(
        self, store: FileStore, workflows: BatchWorkflows, admit: Admit, require_allowed: RequireAllowed
    ) -> None:
        self._store, self._workflows, self._admit, self._require_allowed = store, workflows, admit, require_allowed
        self._threads = Threads(_ADMITTED_AT_ONCE, "batches")
        self._records, self._files = Records(store), Files(store)

    async def create(self, batch: Owned, file: Owned, terms: Terms, caller: Caller) -> Batch:
        """Raises InvalidArgument that names bad lines, NotFound, Unavailable.

        Raises FailedPrecondition where the id is another batch's, or the caller's or a line's tenant may have no batch.
        """
        record = await self._threads.call(self._recorded, batch, file, terms, caller)
        if await asyncio.to_thread(self._records.end, record.folder) is None:
            task = BatchTask(
                batch.internal_id,
                record.folder,
                record.profile,
                record.total,
                record.concurrency,
                record.max_cost_usd,
                record.deadline,
            )
            await self._workflows.start(task, batch.tenant, record.fingerprint)
            await asyncio.to_thread(self._records.write_begun, record.folder)
        return await self._with_progress(batch, record)

    async def get(self, batch: Owned) -> Batch:
        """Raises NotFound, Unavailable."""
        return await self._with_progress(batch, await asyncio.to_thread(self._records.batch, batch.tenant, batch.id))

    async def cancel(self, batch: Owned) -> Batch:
        """Raises as `get`."""
        found = await self.get(batch)
        if found.progress.state is not BatchState.RUNNING:
            return found
        await self._workflows.cancel(batch.internal_id)
        return replace(found, progress=replace(found.progress, state=BatchState.CANCELLING))

    async def list(self, tenant: str, limit: int, after: str) -> tuple[list[Batch], bool]:
        """Return the newest first, from the one after `after`, and whether there are more. Raises NotFound,
        Unavailable.
        """
        entries = await asyncio.to_thread(self._store.entries, paths.batch_list(tenant))
        names = following([entry.name for entry in entries], after)
        found = await asyncio.gather(*(self.get(Owned(tenant, name)) for name in names[:limit]))
        return list(found), len(names) > limit

    def _recorded(self, batch: Owned, file: Owned, terms: Terms, caller: Caller) -> BatchRecord:
        """Return the batch's record, made from its file unless there is one: nothing of it has been started then."""
        known = self._known(batch)
        if known is None:  # a batch that was allowed goes on
            self._require_allowed(caller)
        fingerprint = terms.fingerprint(self._files.digest(file))
        if known is None:
            return self._made(batch, file, terms, fingerprint, caller)
        if known.fingerprint != fingerprint:
            raise reused(batch.id)
        return known

    def _known(self, batch: Owned) -> BatchRecord | None:
        try:
            return self._records.batch(batch.tenant, batch.id)
        except NotFound:
            return None

    def _made(self, batch: Owned, file: Owned, terms: Terms, fingerprint: str, caller: Caller) -> BatchRecord:
        folder = paths.batch_folder(batch.tenant, batch.id, fingerprint)
        admission = BatchAdmission(self._admit, caller, batch, limits_usd=terms.max_cost_usd is not None)
        admitted = write_pages(self._store, folder, self._files.lines(file), admission)
        now = time.time()
        record = BatchRecord(
            batch.id,
            folder,
            fingerprint,
            admitted.profile,
            file.id,
            admitted.total,
            terms.concurrency,
            terms.max_cost_usd,
            now,
            now + terms.window_seconds if terms.window_seconds else 0.0,
            dict(terms.metadata),
        )
        self._records.write_batch(batch.tenant, record)
        return record

    async def _with_progress(self, batch: Owned, record: BatchRecord) -> Batch:
        """How it ended is in the store, and outlives what Temporal keeps."""
        ended = await asyncio.to_thread(self._records.end, record.folder)
        progress = ended or await self._workflows.progress(batch.internal_id)
        if progress is None:
            progress = BatchProgress() if await asyncio.to_thread(self._may_begin, record) else _UNKNOWN
        return Batch(record, progress)

    def _may_begin(self, record: BatchRecord) -> bool:
        """A gateway is about to start it; a batch that had begun is one that Temporal has lost."""
        is_new = time.time() - record.created_at < _BEGINS_SECONDS
        return is_new and not self._records.has_begun(record.folder)
