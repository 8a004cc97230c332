"""Every call of the gateway's public services: what it is in words, and what is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import grpc
from google.protobuf.message import Message

from services.shared.process.status import error_info
from tandem.v1 import batch_pb2 as batches
from tandem.v1 import tandem_pb2 as tandem
from tests.contracts import Method, methods, services
from tests.integration.access.guarded import LINE, QUESTION, Guarded, Names
from tests.integration.access.processes import INTERNAL

METHODS = {str(method): method for method in methods(services() - INTERNAL)}
"""Of every service that is not one between the processes, by SERVICE/METHOD."""
_BOUND_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Call:
    """`make`: the messages, given the ids of what `tenant` has. `erases`: the field of Names that is gone
    afterwards.
    """

    words: str
    method: str
    make: Callable[[Names], Sequence[Message]]
    erases: str = ""

    @property
    def names_something(self) -> bool:
        return self.make(Names.unknown()) != self.make(Names.unknown())

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True, slots=True)
class Reply:
    """How a call ended."""

    code: grpc.StatusCode
    message: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return "yes" if self.code is grpc.StatusCode.OK else self.code.name


def _upload(names: Names) -> list[Message]:
    described = batches.FileDescription(filename="questions.jsonl", purpose="batch")
    return [batches.CreateFileRequest(description=described), batches.CreateFileRequest(content=LINE)]


CALLS = (
    Call("ask", "TandemService/Solve", lambda names: [tandem.SolveRequest(question=QUESTION)]),
    Call(
        "ask in the name of `tenant`",
        "TandemService/Solve",
        lambda names: [tandem.SolveRequest(question=QUESTION, tenant="tenant")],
    ),
    Call(
        "follow a request of `tenant`",
        "TandemService/Solve",
        lambda names: [tandem.SolveRequest(request_id=names.request)],
    ),
    Call(
        "read a request of `tenant`",
        "TandemService/GetRequest",
        lambda names: [tandem.GetRequestRequest(request_id=names.request)],
    ),
    Call(
        "read the steps of a request of `tenant`",
        "TandemService/GetTimeline",
        lambda names: [tandem.GetTimelineRequest(request_id=names.request)],
    ),
    Call(
        "cancel a request of `tenant`",
        "TandemService/CancelRequest",
        lambda names: [tandem.CancelRequestRequest(request_id=names.request)],
    ),
    Call(
        "delete a request of `tenant`",
        "TandemService/DeleteRequest",
        lambda names: [tandem.DeleteRequestRequest(request_id=names.request)],
        erases="request",
    ),
    Call(
        "say what became of a request of `tenant`",
        "TandemService/ReportOutcome",
        lambda names: [tandem.ReportOutcomeRequest(request_id=names.request, right=True)],
    ),
    Call("list what outcomes say", "TandemService/ListPromises", lambda names: [tandem.ListPromisesRequest()]),
    Call("list requests", "TandemService/ListRequests", lambda names: [tandem.ListRequestsRequest()]),
    Call("list profiles", "TandemService/ListProfiles", lambda names: [tandem.ListProfilesRequest()]),
    Call(
        "count tokens",
        "TandemService/CountTokens",
        lambda names: [tandem.CountTokensRequest(request=tandem.SolveRequest(question=QUESTION))],
    ),
    Call("list tenants", "TandemService/ListTenants", lambda names: [tandem.ListTenantsRequest()]),
    Call("upload a file", "FileService/CreateFile", _upload),
    Call(
        "describe a file of `tenant`",
        "FileService/GetFile",
        lambda names: [batches.GetFileRequest(file_id=names.file)],
    ),
    Call(
        "read a file of `tenant`", "FileService/ReadFile", lambda names: [batches.ReadFileRequest(file_id=names.file)]
    ),
    Call(
        "delete a file of `tenant`",
        "FileService/DeleteFile",
        lambda names: [batches.DeleteFileRequest(file_id=names.file)],
        erases="file",
    ),
    Call("list files", "FileService/ListFiles", lambda names: [batches.ListFilesRequest()]),
    Call(
        "make a batch of a file of `tenant`",
        "BatchService/CreateBatch",
        lambda names: [batches.CreateBatchRequest(input_file_id=names.file)],
    ),
    Call(
        "read a batch of `tenant`",
        "BatchService/GetBatch",
        lambda names: [batches.GetBatchRequest(batch_id=names.batch)],
    ),
    Call(
        "cancel a batch of `tenant`",
        "BatchService/CancelBatch",
        lambda names: [batches.CancelBatchRequest(batch_id=names.batch)],
    ),
    Call("list batches", "BatchService/ListBatches", lambda names: [batches.ListBatchesRequest()]),
)
CURSORS = (
    Call(
        "list the files after one of `tenant`",
        "FileService/ListFiles",
        lambda names: [batches.ListFilesRequest(after=names.file)],
    ),
    Call(
        "list the batches after one of `tenant`",
        "BatchService/ListBatches",
        lambda names: [batches.ListBatchesRequest(after=names.batch)],
    ),
)
"""What also takes an id of another tenant's; the table has these methods already."""


async def reply_to(guarded: Guarded, caller: str, call: Call, names: Names) -> Reply:
    """How the call ends; a stream is read to its end."""
    async with grpc.aio.insecure_channel(guarded.address) as channel:
        try:
            await _send(channel, METHODS[call.method], call.make(names), guarded.credentials[caller])
        except grpc.aio.AioRpcError as error:
            return Reply(error.code(), error.details() or "", error_info(error).reason)
    return Reply(grpc.StatusCode.OK)


async def _send(channel: grpc.aio.Channel, method: Method, sent: Sequence[Message], credential: str) -> None:
    call = getattr(channel, method.kind)(method.path, request_serializer=lambda message: message.SerializeToString())
    metadata = [("authorization", f"Bearer {credential}")] if credential else []
    request: Message | Iterator[Message] = iter(sent) if method.is_upload else sent[0]
    replies = call(request, metadata=metadata, timeout=_BOUND_SECONDS)
    if method.is_stream:
        async for _ in replies:
            pass
    else:
        await replies
