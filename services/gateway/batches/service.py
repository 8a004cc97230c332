"""tandem.v1.FileService and tandem.v1.BatchService: convert, call, convert."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import uuid4

import grpc

from services.gateway.batches.admitted import RequireAllowed
from services.gateway.batches.batches import Batch, Batches, Terms, Threads
from services.gateway.batches.files import Files
from services.gateway.batches.uploads import Uploads
from services.shared.file_store import paths
from services.shared.file_store.records import FileRecord
from services.shared.file_store.store import CHUNK_BYTES
from services.shared.identity.caller import ID, Caller, Owned, current_caller, owned
from services.shared.identity.turns import LookUps, takes_turn
from tandem.method.errors import InvalidArgument
from tandem.v1 import batch_pb2, batch_pb2_grpc

FILES = batch_pb2.DESCRIPTOR.services_by_name["FileService"].full_name
BATCHES = batch_pb2.DESCRIPTOR.services_by_name["BatchService"].full_name
_LIST, _MAX_FILES, _MAX_BATCHES = 20, 1000, 100
_CONCURRENCY, _MAX_CONCURRENCY = 8, 64
_MAX_ID, _MAX_METADATA = 64, 16
_WRITERS = 2  # files that are written at once: a store elsewhere may take long
Context = grpc.aio.ServicerContext[Any, Any]


class FileService(batch_pb2_grpc.FileServiceServicer):
    """`require_allowed`: a file that no batch may be made of is not received."""

    def __init__(self, files: Files, uploads: Uploads, require_allowed: RequireAllowed, look_ups: LookUps) -> None:
        self._files, self._uploads, self._require_allowed = files, uploads, require_allowed
        self.look_ups = look_ups
        self._writers = Threads(_WRITERS, "files")

    async def CreateFile(
        self, requests: AsyncIterator[batch_pb2.CreateFileRequest], context: Context
    ) -> batch_pb2.File:
        tenant = current_caller().tenant
        self._files.require_store()
        self._require_allowed(current_caller())
        with self._uploads.place(tenant), tempfile.TemporaryFile() as received:
            await asyncio.to_thread(self._files.require_space, tenant)
            named = await self._uploads.receive(aiter(requests), received)
            received.seek(0)
            content = iter(partial(received.read, CHUNK_BYTES), b"")
            create = partial(self._files.create, tenant, named.filename, named.purpose, content)
            async with self._uploads.turn(tenant):
                return _file(await self._writers.call(create))

    @takes_turn
    async def GetFile(self, request: batch_pb2.GetFileRequest, context: Context) -> batch_pb2.File:
        return _file(await asyncio.to_thread(self._files.get, _owned_file(request.file_id)))

    @takes_turn
    async def ListFiles(self, request: batch_pb2.ListFilesRequest, context: Context) -> batch_pb2.ListFilesResponse:
        limit = _limit(request.limit, _MAX_FILES)
        tenant = current_caller().tenant
        found, has_more = await asyncio.to_thread(self._files.list, tenant, request.purpose, limit, request.after)
        return batch_pb2.ListFilesResponse(files=map(_file, found), has_more=has_more)

    async def ReadFile(
        self, request: batch_pb2.ReadFileRequest, context: Context
    ) -> AsyncIterator[batch_pb2.ReadFileResponse]:
        chunks = await asyncio.to_thread(self._files.content, _owned_file(request.file_id))
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield batch_pb2.ReadFileResponse(content=chunk)

    @takes_turn
    async def DeleteFile(self, request: batch_pb2.DeleteFileRequest, context: Context) -> batch_pb2.DeleteFileResponse:
        await asyncio.to_thread(self._files.delete, _owned_file(request.file_id))
        return batch_pb2.DeleteFileResponse(file_id=request.file_id)


class BatchService(batch_pb2_grpc.BatchServiceServicer):
    def __init__(self, batches: Batches, look_ups: LookUps) -> None:
        self._batches, self.look_ups = batches, look_ups

    async def CreateBatch(self, request: batch_pb2.CreateBatchRequest, context: Context) -> batch_pb2.Batch:
        caller, given = current_caller(), request.batch_id or f"batch_{uuid4().hex}"
        if len(given.rpartition("/")[2]) > _MAX_ID or not ID.fullmatch(given.rpartition("/")[2]):
            raise InvalidArgument(
                f"a batch id has 1 to {_MAX_ID} of the characters A-Z a-z 0-9 . _ -", field="batch_id"
            )
        batch, file = owned(caller, given, "batch"), _owned_file(request.input_file_id)
        return _batch(await self._batches.create(batch, file, _terms(request), caller), caller, batch)

    @takes_turn
    async def GetBatch(self, request: batch_pb2.GetBatchRequest, context: Context) -> batch_pb2.Batch:
        caller = current_caller()
        batch = owned(caller, request.batch_id, "batch")
        return _batch(await self._batches.get(batch), caller, batch)

    @takes_turn
    async def CancelBatch(self, request: batch_pb2.CancelBatchRequest, context: Context) -> batch_pb2.Batch:
        caller = current_caller()
        batch = owned(caller, request.batch_id, "batch")
        return _batch(await self._batches.cancel(batch), caller, batch)

    @takes_turn
    async def ListBatches(
        self, request: batch_pb2.ListBatchesRequest, context: Context
    ) -> batch_pb2.ListBatchesResponse:
        caller, limit = current_caller(), _limit(request.limit, _MAX_BATCHES)
        found, has_more = await self._batches.list(caller.tenant, limit, request.after)
        batches = [_batch(each, caller, Owned(caller.tenant, each.record.batch_id)) for each in found]
        return batch_pb2.ListBatchesResponse(batches=batches, has_more=has_more)


# -- in ---------------------------------------------------------------------------------------------------------------


def _owned_file(file_id: str) -> Owned:
    return owned(current_caller(), file_id, "file")


def _limit(given: int, most: int) -> int:
    if given > most:
        raise InvalidArgument(f"at most {most} are listed at once", field="limit")
    return given or _LIST


def _terms(request: batch_pb2.CreateBatchRequest) -> Terms:
    cost = request.max_cost_usd if request.HasField("max_cost_usd") else None
    if cost is not None and not (math.isfinite(cost) and cost > 0):
        raise InvalidArgument(f"a cost limit is a positive number, not {cost}", field="max_cost_usd")
    if request.concurrency > _MAX_CONCURRENCY:
        raise InvalidArgument(f"at most {_MAX_CONCURRENCY} requests of a batch run at once", field="concurrency")
    if len(request.metadata) > _MAX_METADATA:
        raise InvalidArgument(f"a batch has at most {_MAX_METADATA} texts of metadata", field="metadata")
    return Terms(cost, request.concurrency or _CONCURRENCY, request.window_seconds, dict(request.metadata))


# -- out --------------------------------------------------------------------------------------------------------------


def _file(record: FileRecord) -> batch_pb2.File:
    return batch_pb2.File(
        file_id=record.file_id,
        filename=record.filename,
        purpose=record.purpose,
        bytes=record.bytes,
        created_at_unix_ms=record.created_at * 1000,
    )


def _batch(found: Batch, caller: Caller, batch: Owned) -> batch_pb2.Batch:
    record, progress = found.record, found.progress
    files = {kind: paths.output_id(batch.id, kind) for kind in (paths.ANSWERS, paths.ERRORS)}
    return batch_pb2.Batch(
        batch_id=caller.public_id(batch.internal_id),
        state=batch_pb2.BatchState.Value(f"BATCH_STATE_{progress.state.upper()}"),
        profile=record.profile,
        input_file_id=record.input_file_id,
        output_file_id=files[paths.ANSWERS] if progress.has_output else "",
        error_file_id=files[paths.ERRORS] if progress.has_errors else "",
        counts=batch_pb2.BatchCounts(
            total=record.total,
            answered=progress.answered,
            failed=progress.failed,
            cancelled=progress.cancelled,
            unasked=progress.unasked,
            running=progress.running,
        ),
        usd=progress.usd,
        max_cost_usd=record.max_cost_usd,
        concurrency=record.concurrency,
        created_at_unix_ms=record.created_at * 1000,
        ended_at_unix_ms=progress.ended_at * 1000 if progress.ended_at else None,
        expires_at_unix_ms=record.deadline * 1000 if record.deadline else None,
        metadata=record.metadata,
        error=progress.error,
    )
