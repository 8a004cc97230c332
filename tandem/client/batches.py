"""Batches and their files at a gateway: `Client.batches` blocks, `AsyncClient.batches` is for asyncio. Both raise
RequestError.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import grpc

from tandem.client.contract import to_message
from tandem.client.unary_calls import Metadata, async_unary_call, unary_call
from tandem.errors import from_rpc
from tandem.v1 import batch_pb2, batch_pb2_grpc

_CALL_SECONDS = 30.0
_FILE_SECONDS = 600.0  # of a whole file, and of checking all its lines
T = TypeVar("T")


def new_batch(
    input_file_id: str,
    batch_id: str = "",
    max_cost_usd: float | None = None,
    concurrency: int = 0,
    window_seconds: int = 0,
    metadata: Mapping[str, str] | None = None,
) -> batch_pb2.CreateBatchRequest:
    """The request for a batch; 0 and empty stand for the gateway's defaults."""
    return to_message(
        batch_pb2.CreateBatchRequest,
        batch_id=batch_id,
        input_file_id=input_file_id,
        max_cost_usd=max_cost_usd,
        concurrency=concurrency,
        window_seconds=window_seconds,
        metadata=metadata,
    )


class Batches:
    def __init__(self, channel: grpc.Channel, metadata: Metadata) -> None:
        self._metadata = metadata
        self._files = batch_pb2_grpc.FileServiceStub(channel)
        self._batches = batch_pb2_grpc.BatchServiceStub(channel)

    def upload(self, filename: str, content: Iterable[bytes]) -> batch_pb2.File:
        """`content` in pieces of at most 1 MiB."""

        def messages() -> Iterator[batch_pb2.CreateFileRequest]:
            yield _first(filename)
            yield from (batch_pb2.CreateFileRequest(content=piece) for piece in content)

        return self._call(self._files.CreateFile, messages(), _FILE_SECONDS)

    def read(self, file_id: str) -> Iterator[bytes]:
        """The content, in pieces."""
        request = to_message(batch_pb2.ReadFileRequest, file_id=file_id)
        try:
            for message in self._files.ReadFile(request, timeout=_FILE_SECONDS, metadata=self._metadata):
                yield message.content
        except grpc.RpcError as error:
            raise from_rpc(error) from None

    def create(self, request: batch_pb2.CreateBatchRequest) -> batch_pb2.Batch:
        """Returns when every line has been checked and the batch has begun."""
        return self._call(self._batches.CreateBatch, request, _FILE_SECONDS)

    def get(self, batch_id: str) -> batch_pb2.Batch:
        return self._call(self._batches.GetBatch, to_message(batch_pb2.GetBatchRequest, batch_id=batch_id))

    def cancel(self, batch_id: str) -> batch_pb2.Batch:
        return self._call(self._batches.CancelBatch, to_message(batch_pb2.CancelBatchRequest, batch_id=batch_id))

    def list(self, limit: int = 20, after: str = "") -> batch_pb2.ListBatchesResponse:
        """Newest first."""
        return self._call(self._batches.ListBatches, to_message(batch_pb2.ListBatchesRequest, limit=limit, after=after))

    def _call(self, method: Callable[..., T], request: object, seconds: float = _CALL_SECONDS) -> T:
        return unary_call(method, request, seconds, self._metadata)


class AsyncBatches:
    """`Batches` for asyncio, and what OpenAI's files API needs besides."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._metadata = metadata
        self._files = batch_pb2_grpc.FileServiceStub(channel)
        self._batches = batch_pb2_grpc.BatchServiceStub(channel)

    async def upload(self, filename: str, content: AsyncIterable[bytes], purpose: str = "batch") -> batch_pb2.File:
        """`content` in pieces of at most 1 MiB."""

        async def messages() -> AsyncIterator[batch_pb2.CreateFileRequest]:
            yield _first(filename, purpose)
            async for piece in content:
                yield batch_pb2.CreateFileRequest(content=piece)

        return await self._call(self._files.CreateFile, messages(), _FILE_SECONDS)

    async def file(self, file_id: str) -> batch_pb2.File:
        return await self._call(self._files.GetFile, to_message(batch_pb2.GetFileRequest, file_id=file_id))

    async def files(self, purpose: str = "", limit: int = 0, after: str = "") -> batch_pb2.ListFilesResponse:
        """Newest first."""
        request = to_message(batch_pb2.ListFilesRequest, purpose=purpose, limit=limit, after=after)
        return await self._call(self._files.ListFiles, request)

    async def delete(self, file_id: str) -> batch_pb2.DeleteFileResponse:
        return await self._call(self._files.DeleteFile, to_message(batch_pb2.DeleteFileRequest, file_id=file_id))

    async def read(self, file_id: str) -> AsyncIterator[bytes]:
        """The content, in pieces."""
        call = self._files.ReadFile(
            to_message(batch_pb2.ReadFileRequest, file_id=file_id), timeout=_FILE_SECONDS, metadata=self._metadata
        )
        try:
            async for message in call:
                yield message.content
        except grpc.RpcError as error:
            raise from_rpc(error) from None
        finally:
            call.cancel()

    async def create(self, request: batch_pb2.CreateBatchRequest) -> batch_pb2.Batch:
        """Returns when every line has been checked and the batch has begun."""
        return await self._call(self._batches.CreateBatch, request, _FILE_SECONDS)

    async def get(self, batch_id: str) -> batch_pb2.Batch:
        return await self._call(self._batches.GetBatch, to_message(batch_pb2.GetBatchRequest, batch_id=batch_id))

    async def cancel(self, batch_id: str) -> batch_pb2.Batch:
        return await self._call(self._batches.CancelBatch, to_message(batch_pb2.CancelBatchRequest, batch_id=batch_id))

    async def list(self, limit: int = 0, after: str = "") -> batch_pb2.ListBatchesResponse:
        """Newest first."""
        return await self._call(
            self._batches.ListBatches, to_message(batch_pb2.ListBatchesRequest, limit=limit, after=after)
        )

    async def _call(self, method: Callable[..., Awaitable[T]], request: object, seconds: float = _CALL_SECONDS) -> T:
        return await async_unary_call(method, request, seconds, self._metadata)


def _first(filename: str, purpose: str = "batch") -> batch_pb2.CreateFileRequest:
    return batch_pb2.CreateFileRequest(
        description=to_message(batch_pb2.FileDescription, filename=filename, purpose=purpose)
    )
