"""Files of batches that have been kept for as long as the operator wants: erased, with their names and what they say of
a batch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from datetime import timedelta

from services.gateway.batches.temporal import BatchWorkflows
from services.shared.file_store import paths
from services.shared.file_store.records import BatchRecord, Records
from services.shared.file_store.store import FileStore
from services.shared.identity.caller import Owned
from tandem.method.errors import NotFound, TandemError
from tandem.method.request.batch import BatchState

logger = logging.getLogger(__name__)
_MOST_PAUSE = timedelta(hours=1)
_PARTS = 24  # of the retention: how much longer something may stay


class Retention:
    """A file is kept for `kept` after it was written; a batch for as long after its end, and while it runs."""

    def __init__(self, store: FileStore, workflows: BatchWorkflows, kept: timedelta) -> None:
        self._store, self._workflows, self._kept = store, workflows, kept
        self._records = Records(store)

    async def keep_erasing(self) -> None:
        """Erase until cancelled. Several gateways may do so over one store."""
        while True:
            try:
                if erased := await self.erase(time.time()):
                    logger.info("erased %d files and batches after their retention", erased)
            except Exception:  # a store has errors of its own; what is due is found again
                logger.exception("files of batches were not looked through")
            await asyncio.sleep(min(self._kept / _PARTS, _MOST_PAUSE).total_seconds())

    async def erase(self, now: float) -> int:
        """Erase what is due at `now`, Unix seconds. Returns how many files and batches. Raises the store's own
        errors.
        """
        due, erased = now - self._kept.total_seconds(), 0
        for tenant in map(paths.tenant_of, await asyncio.to_thread(self._folders_of_tenants)):
            erased += await asyncio.to_thread(self._erase_files, tenant, due)
            for record, folder in await asyncio.to_thread(self._batches, tenant):
                if await self._is_due(tenant, record, folder, due):
                    await asyncio.to_thread(self._erase_batch, tenant, record, folder)
                    erased += 1
        return erased

    def _folders_of_tenants(self) -> list[str]:
        return [f"{name}/" for name in self._store.folders("")]

    def _erase_files(self, tenant: str, due: float) -> int:
        """The content first: what is left after a failure is found by its name."""
        erased = 0
        for folder in (paths.files(tenant), paths.file_descriptions(tenant)):
            for entry in self._store.entries(folder):
                if entry.modified_at <= due:
                    self._store.delete(f"{folder}/{entry.name}")
                    erased += folder == paths.files(tenant)
        return erased

    def _batches(self, tenant: str) -> list[tuple[BatchRecord | None, str]]:
        """Return each batch's record and folder; one that was refused, or whose gateway died, has a folder alone."""
        records = {}
        for entry in self._store.entries(paths.batch_list(tenant)):
            with suppress(NotFound):  # another gateway has erased it
                record = self._records.batch(tenant, entry.name)
                records[record.folder] = record
        folders = [f"{paths.batches(tenant)}/{name}" for name in self._store.folders(paths.batches(tenant))]
        return [(records.get(folder), folder) for folder in {*records, *folders}]

    async def _is_due(self, tenant: str, record: BatchRecord | None, folder: str, due: float) -> bool:
        """Raises nothing where Temporal does not answer: the batch is looked at another time."""
        if await asyncio.to_thread(self._last_written, folder, record) > due:
            return False
        if record is None or await asyncio.to_thread(self._records.end, folder) is not None:
            return True
        with suppress(TandemError):
            progress = await self._workflows.progress(Owned(tenant, record.batch_id).internal_id)
            return progress is None or progress.state is not BatchState.RUNNING
        return False

    def _last_written(self, folder: str, record: BatchRecord | None) -> float:
        parts = [folder, *(f"{folder}/{name}" for name in self._store.folders(folder))]
        written = [entry.modified_at for part in parts for entry in self._store.entries(part)]
        return max([record.created_at if record else 0.0, *written])

    def _erase_batch(self, tenant: str, record: BatchRecord | None, folder: str) -> None:
        self._store.delete_folder(folder)
        if record is not None:
            self._store.delete(paths.batch_path(tenant, record.batch_id))
