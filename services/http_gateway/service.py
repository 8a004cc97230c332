"""OpenAI's HTTP API: convert, call, convert."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any
from uuid import uuid4

import grpc
from fastapi import FastAPI, Header, Request, Response
from fastapi.responses import PlainTextResponse
from opentelemetry import propagate, trace
from starlette.middleware.cors import CORSMiddleware

from services.http_gateway import batches, outcomes, page
from services.http_gateway.exchange import Dropped, Exchange
from services.http_gateway.failures import handle_failures, refused_page
from services.http_gateway.headers import dropped_header, session_headers
from services.http_gateway.lifetime import Ending, EndingGuard, Readiness
from services.http_gateway.reading import Bodies, BodyRoute
from services.http_gateway.replies import send_stream, send_whole
from services.http_gateway.sessions import set_session
from services.shared.identity.caller import bearer, credential_of
from services.shared.observability import availability, text
from services.shared.observability.tracing import tracer
from services.shared.process.body_limit import BodyLimit
from services.shared.process.web_pages import PageGuard, WebPages
from tandem.client.clients import AsyncClient
from tandem.client.contract import MAX_REQUEST_BYTES
from tandem.client.events import Accepted
from tandem.client.results import to_dict
from tandem.errors import RequestError
from tandem.method.rule.stop_rule import MEMBERS, NEVER
from tandem.openai.body import Labels
from tandem.openai.chat_reply import ChatReply
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.messages_reply import MessagesReply
from tandem.openai.messages_request import CountTokensBody, MessagesRequest
from tandem.openai.protocols import AnyBody
from tandem.openai.reply import Reply
from tandem.openai.responses_reply import ResponsesReply
from tandem.openai.responses_request import ResponsesRequest
from tandem.v1 import tandem_pb2

Authorization = Annotated[str, Header(description="`Bearer KEY`: the gateway asks who it is, not this process")]
IdempotencyKey = Annotated[str, Header(alias="Idempotency-Key", description="the request id: a repeated one joins")]
_MOST_LOGGED = 256
logger = logging.getLogger(__name__)

OWN_PAGE = WebPages(private="/api/")
"""Nobody else's page may ask, or read what the own one reads. By whatever name this process is called."""


class OpenAIService:
    """The endpoints, over one client of the gateway."""

    def __init__(self, client: AsyncClient, readiness: Readiness) -> None:
        self._client, self._readiness = client, readiness
        self._logged: set[str] = set()

    async def chat_completions(
        self,
        body: ChatCompletionRequest,
        request: Request,
        idempotency_key: IdempotencyKey = "",
        authorization: Authorization = "",
    ) -> Response:
        """Return a completion, or with `stream` its chunks as server-sent events. A client that hangs up stops the
        models.
        """

        def reply(accepted: Accepted) -> Reply:
            return ChatReply(
                accepted.request_id,
                accepted.profile,
                body.metadata,
                body.stream_options.include_usage,
                is_passed=accepted.native,
            )

        return await self._reply(body, reply, request, idempotency_key, self._for(authorization))

    async def responses(
        self,
        body: ResponsesRequest,
        request: Request,
        idempotency_key: IdempotencyKey = "",
        authorization: Authorization = "",
    ) -> Response:
        """Return the same as a response, or with `stream` as its events."""

        def reply(accepted: Accepted) -> Reply:
            return ResponsesReply(
                accepted.request_id, accepted.profile, body.repeated, body.namespaces, is_passed=accepted.native
            )

        return await self._reply(body, reply, request, idempotency_key, self._for(authorization))

    async def messages(
        self,
        body: MessagesRequest,
        request: Request,
        idempotency_key: IdempotencyKey = "",
    ) -> Response:
        """Return the same as Anthropic's message, or with `stream` as its events."""

        def reply(accepted: Accepted) -> Reply:
            return MessagesReply(accepted.request_id, accepted.profile, is_passed=accepted.native)

        client = self._client.for_caller(credential_of(request.headers))
        return await self._reply(body, reply, request, idempotency_key, client)

    async def count_tokens(self, body: CountTokensBody, request: Request) -> dict[str, int]:
        """Return how many tokens of the small model a conversation has, with its tools, as the profile's limit counts
        them.
        """
        asked = body.as_solve_request(uuid4().hex)
        counted = await self._client.for_caller(credential_of(request.headers)).count_tokens(asked)
        return {"input_tokens": counted.tokens}

    async def _reply(
        self,
        body: AnyBody,
        make_reply: Callable[[Accepted], Reply],
        request: Request,
        key: str,
        client: AsyncClient,
    ) -> Response:
        request_id = key or uuid4().hex
        asked = body.as_solve_request(request_id)
        set_session(asked, request, body)
        asked.native.CopyFrom(body.native(request.headers.get("anthropic-beta", "")))
        if asked.native.needs:  # the large model's API alone does what is asked
            asked.stop.ClearField("thresholds")
            asked.stop.threshold = NEVER
        exchange = Exchange(client, asked, _span(request, body.labels, request_id), cancels=not key)
        try:
            accepted = await exchange.start()
            by_small = body.dropped(is_told=accepted.tells_effort)
            dropped = exchange.dropped = Dropped(accepted.dropped if accepted.native else by_small, by_small)
            headers = {"x-request-id": accepted.request_id, "x-tandem-trace-id": accepted.trace_id}
            headers |= session_headers(accepted)
            self._log_once(dropped.by_large)
            if body.stream:
                headers |= dropped_header(dropped.by_large)
                return await send_stream(exchange, make_reply(accepted), headers, request.app.state.ending, request)
            return await send_whole(exchange, make_reply(accepted), headers, request)
        except BaseException:
            exchange.close()
            raise

    def _log_once(self, dropped: Sequence[str]) -> None:
        named = ", ".join(dropped)
        if named and named not in self._logged and len(self._logged) < _MOST_LOGGED:
            self._logged.add(named)
            logger.info("a request's parameters that are not followed: %s", named)

    async def models(self, authorization: Authorization = "") -> dict[str, Any]:
        """Return each profile and its models by name; `profile@0.6` sets the threshold at which a stage suffices."""
        profiles = (await self._for(authorization).profiles()).profiles
        return {"object": "list", "data": [model for profile in profiles for model in _models(profile)]}

    async def model(self, name: str, authorization: Authorization = "") -> dict[str, Any]:
        for known in (await self.models(authorization))["data"]:
            if known["id"] == name.partition("@")[0]:
                return {**known, "id": name}
        raise RequestError(
            grpc.StatusCode.NOT_FOUND, f"the model {name!r} does not exist", "UNKNOWN_PROFILE", "profile"
        )

    async def schema(self, request: Request, authorization: Authorization = "") -> dict[str, Any]:
        """Return what this process serves, for those whom the gateway serves."""
        await self._for(authorization).profiles()
        found: dict[str, Any] = request.app.openapi()
        return found

    def _for(self, authorization: str) -> AsyncClient:
        """Return the gateway's client for the sender of this header, whose credential goes on as it is."""
        return self._client.for_caller(bearer(authorization))

    async def healthz(self) -> PlainTextResponse:
        """This process is alive."""
        return PlainTextResponse("ok")

    async def readyz(self) -> PlainTextResponse:
        """This process takes requests, and the gateway answers."""
        reason = await self._readiness.reason_against()
        return PlainTextResponse(reason or "ok", 503 if reason else 200)


def make_app(
    client: AsyncClient,
    readiness: Readiness,
    jaeger: str = "",
    max_body_bytes: int = MAX_REQUEST_BYTES,
    pages: WebPages = OWN_PAGE,
) -> FastAPI:
    """`jaeger`: where the page's links to traces lead; empty: it has none."""
    service = OpenAIService(client, readiness)
    app = FastAPI(title="Tandem", description="OpenAI's chat API", openapi_url=None)
    app.router.route_class = BodyRoute
    app.state.max_body_bytes = max_body_bytes
    app.state.bodies = Bodies(client)
    app.post("/v1/chat/completions", response_model=None)(service.chat_completions)
    app.post("/v1/responses", response_model=None)(service.responses)
    app.post("/v1/messages", response_model=None)(service.messages)
    app.post("/v1/messages/count_tokens")(service.count_tokens)
    app.get("/v1/models")(service.models)
    app.get("/v1/models/{name:id}")(service.model)
    app.get("/healthz", include_in_schema=False, response_model=None)(service.healthz)
    app.get("/readyz", include_in_schema=False, response_model=None)(service.readyz)
    app.get("/openapi.json", include_in_schema=False)(service.schema)
    page.mount(app, client, jaeger)
    app.include_router(batches.router)
    app.include_router(outcomes.router)
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    if pages.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=pages.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(PageGuard, pages=pages, answer=refused_page)
    app.state.ending = Ending()
    app.add_middleware(EndingGuard, ending=app.state.ending)
    app.add_middleware(_Counted)
    handle_failures(app)
    return app


def _models(profile: tandem_pb2.Profile) -> list[dict[str, Any]]:
    """Return the pair, and its large and its first small model by name."""
    listed = {"object": "model", "created": 0, "owned_by": "tandem"}
    names = [profile.name, *(f"{profile.name}/{member}" for member in MEMBERS)]
    return [{"id": name, **listed, "tandem": to_dict(profile)} for name in names]


# -- observation ------------------------------------------------------------------------------------------------------


def _span(request: Request, labels: Labels, request_id: str) -> trace.Span:
    """Return the server's span, in the trace that the client names; the gateway's is its child.

    `user` and `metadata` leave the process with TANDEM_TELEMETRY_TEXT=true only (services.shared.observability.text).
    """
    attributes: dict[str, Any] = {
        "http.request.method": request.method,
        "http.route": request.url.path,
        "tandem.request.id": request_id,
        **({text.USER: labels.user} if labels.user else {}),
        **{text.METADATA + name: value for name, value in labels.metadata.items()},
    }
    return tracer.start_span(
        f"{request.method} {request.url.path}",
        context=propagate.extract(request.headers),
        kind=trace.SpanKind.SERVER,
        attributes=attributes,
    )


class _Counted:
    """Counts each reply as it begins. Not Starlette's middleware for functions, which sends every chunk through a queue
    of its own.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        began, is_counted = time.monotonic(), False

        def count(status: int) -> None:
            nonlocal is_counted
            is_counted = True
            availability.count_http(getattr(scope.get("route"), "path", "other"), status, time.monotonic() - began)

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, counted if scope["type"] == "http" else send)
        except Exception:
            if not is_counted:
                count(500)  # which Starlette replies beyond this middleware
            raise
