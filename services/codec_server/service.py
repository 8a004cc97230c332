"""POST /encode and /decode, as https://docs.temporal.io/production-deployment/data-encryption describes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payload, Payloads

from services.shared.identity.authentication import Authentication
from services.shared.process.body_limit import BodyLimit
from services.shared.process.temporal import EncryptionCodec
from tandem.method.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    TandemError,
    Unauthenticated,
    Unavailable,
)

MAX_BODY_BYTES = 32 * 2**20
_STATUSES: dict[type[TandemError], int] = {
    InvalidArgument: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    FailedPrecondition: 409,
    Unavailable: 503,
}
Convert = Callable[[Sequence[Payload]], Awaitable[list[Payload]]]


class CodecService:
    """Answers admins; where nobody is asked for a credential, whoever reaches it. A browser only for a page of
    `origins`.
    """

    def __init__(self, codec: EncryptionCodec, authentication: Authentication, origins: Sequence[str]) -> None:
        self._codec, self._authentication, self._origins = codec, authentication, frozenset(origins)

    async def encode(self, request: Request) -> Response:
        return await self._converted(request, self._codec.encode)

    async def decode(self, request: Request) -> Response:
        return await self._converted(request, self._codec.decode)

    async def _converted(self, request: Request, convert: Convert) -> Response:
        try:
            await self._check(request)
            converted = await convert(_payloads(await request.body()))
            return Response(_json(converted), media_type="application/json")
        except TandemError as error:
            headers = {"www-authenticate": "Bearer"} if isinstance(error, Unauthenticated) else None
            body = {"error": str(error), "reason": error.reason}
            return JSONResponse(body, _STATUSES[type(error)], headers)

    async def _check(self, request: Request) -> None:
        """Raises Unauthenticated, PermissionDenied, and Unavailable where a token cannot be checked now."""
        # CORS hides an answer from another page; this also refuses one whose name was made to point to this machine.
        origin = request.headers.get("origin")
        if origin is not None and origin not in self._origins:
            raise PermissionDenied(f"pages of {origin!r} may not ask; TANDEM_CODEC_ORIGINS names those that may")
        caller = await self._authentication.caller(request.headers.get("authorization", ""))
        if not caller.sees_all:
            raise PermissionDenied("only a credential with the role admin may read what is kept of requests")


def make_app(service: CodecService, origins: Sequence[str]) -> Starlette:
    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok")

    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["POST"],
        allow_headers=["authorization", "content-type", "x-namespace"],
        allow_credentials=True,
    )
    routes = [
        Route("/encode", service.encode, methods=["POST"]),
        Route("/decode", service.decode, methods=["POST"]),
        Route("/healthz", healthz),
    ]
    return Starlette(routes=routes, middleware=[cors, Middleware(BodyLimit, max_bytes=MAX_BODY_BYTES)])


def _payloads(body: bytes) -> Sequence[Payload]:
    """Raises InvalidArgument."""
    try:
        return Parse(body, Payloads()).payloads
    except (ParseError, UnicodeDecodeError, RecursionError):
        raise InvalidArgument(
            'the body is not {"payloads": [{"metadata": {NAME: BASE64}, "data": BASE64}]}', field="payloads"
        ) from None


def _json(payloads: Sequence[Payload]) -> str:
    return MessageToJson(Payloads(payloads=payloads), indent=None)
