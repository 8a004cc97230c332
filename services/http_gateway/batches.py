"""OpenAI's /v1/files and /v1/batches: convert, call, convert. Files and batches are the gateway's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, StringConstraints
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile

from services.http_gateway.batch_objects import batch_object, file_object, page
from services.http_gateway.reading import Bodies, BodyRoute, register_ids
from services.shared.identity.caller import bearer
from tandem.client.batches import AsyncBatches, new_batch
from tandem.client.clients import AsyncClient
from tandem.client.contract import MOST_COUNT, Count
from tandem.openai.json_body import JsonBody
from tandem.openai.parameters import RefusedParameter

_CHUNK_BYTES = 256 * 1024
_MOST_BYTES = 101 * 1024 * 1024  # what the gateway takes, and the form around it
_FORM = {
    "type": "object",
    "required": ["file", "purpose"],
    "properties": {"file": {"type": "string", "format": "binary"}, "purpose": {"type": "string", "enum": ["batch"]}},
}
register_ids()
router = APIRouter(prefix="/v1", route_class=BodyRoute)


class BatchOptions(BaseModel):
    """What OpenAI's batches have no name for. `max_cost_usd` bounds all requests together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_cost_usd: float | None = None
    concurrency: Count = 0


class NewBatch(JsonBody):
    input_file_id: str
    endpoint: Literal["/v1/chat/completions"]
    completion_window: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,3}h$")]
    metadata: (
        dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]] | None
    ) = None
    tandem: BatchOptions = BatchOptions()

    @property
    def window_seconds(self) -> int:
        return int(self.completion_window.removesuffix("h")) * 3600


def _caller(request: Request, authorization: Annotated[str, Header()] = "") -> AsyncBatches:
    """Return the gateway's batches on behalf of the sender of this header."""
    client: AsyncClient = request.app.state.gateway
    return client.for_caller(bearer(authorization)).batches


async def _place(request: Request) -> AsyncIterator[None]:
    """Take a place for one more upload of the client's address, until it is stored."""
    bodies: Bodies = request.app.state.bodies
    async with bodies.uploads.of(request):
        yield


Caller = Annotated[AsyncBatches, Depends(_caller)]
Limit = Annotated[int, Query(ge=1, le=MOST_COUNT)]


@router.post(
    "/files",
    dependencies=[Depends(_place)],
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}}},
)
async def create_file(batches: Caller, request: Request) -> dict[str, Any]:
    """Store a file of purpose `batch`: one request per line. Who may not call, or sends too much, is refused before it
    is read.
    """
    await batches.files(limit=1)
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > _MOST_BYTES:
        raise HTTPException(413, f"an upload says its content-length, of at most {_MOST_BYTES} bytes")
    _require_utf8(request.headers.get("content-type", ""))
    async with request.form(max_files=1) as form:
        if unknown := form.keys() - {"file", "purpose"}:
            name = min(unknown)
            raise RefusedParameter(name, f"{name} is not supported: files stay until they are deleted")
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise RefusedParameter("file", "file is missing", "missing_required_parameter")
        return file_object(await batches.upload(file.filename or "file", _chunks(file), str(purpose or "")))


@router.get("/files")
async def list_files(
    batches: Caller,
    purpose: str = "",
    limit: Limit = 100,
    after: str = "",
    order: Literal["desc"] = "desc",
) -> dict[str, Any]:
    """The caller's files, newest first."""
    found = await batches.files(purpose, limit, after)
    return page([file_object(each) for each in found.files], found.has_more)


@router.delete("/files/{file_id:id}")
async def delete_file(batches: Caller, file_id: str) -> dict[str, Any]:
    deleted = await batches.delete(file_id)
    return {"id": deleted.file_id, "object": "file", "deleted": True}


@router.get("/files/{file_id:id}/content", response_model=None)
async def content(batches: Caller, file_id: str) -> StreamingResponse:
    pieces = batches.read(file_id)
    first = await anext(pieces, b"")  # a refusal is an HTTP status
    return StreamingResponse(_after(first, pieces), media_type="application/octet-stream")


@router.get("/files/{file_id:id}")
async def file(batches: Caller, file_id: str) -> dict[str, Any]:
    return file_object(await batches.file(file_id))


@router.post("/batches")
async def create_batch(
    batches: Caller,
    body: NewBatch,
    idempotency_key: Annotated[
        str, Header(alias="Idempotency-Key", description="the batch id: a repeated one joins")
    ] = "",
) -> dict[str, Any]:
    """Check every line of a file and ask them all; bad lines are refused here, before anything is paid."""
    asked = new_batch(
        body.input_file_id,
        idempotency_key,
        body.tandem.max_cost_usd,
        body.tandem.concurrency,
        body.window_seconds,
        body.metadata,
    )
    return batch_object(await batches.create(asked))


@router.get("/batches")
async def list_batches(batches: Caller, limit: Limit = 20, after: str = "") -> dict[str, Any]:
    """The caller's batches, newest first."""
    found = await batches.list(limit, after)
    return page([batch_object(each) for each in found.batches], found.has_more)


@router.get("/batches/{batch_id:id}")
async def batch(batches: Caller, batch_id: str) -> dict[str, Any]:
    return batch_object(await batches.get(batch_id))


@router.post("/batches/{batch_id:id}/cancel")
async def cancel_batch(batches: Caller, batch_id: str) -> dict[str, Any]:
    """Ask nothing more, and cancel the requests that run; what is there is written."""
    return batch_object(await batches.cancel(batch_id))


def _require_utf8(content_type: str) -> None:
    """Raises RefusedParameter. The parser of forms takes any of Python's encodings, some of which make text that is no
    Unicode.
    """
    charset = parse_options_header(content_type)[1].get(b"charset", b"utf-8").decode("latin-1")
    if charset.lower() != "utf-8":
        raise RefusedParameter("file", f"the names of a form are in UTF-8, not {charset!r}", "invalid_value")


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK_BYTES):
        yield chunk


async def _after(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
