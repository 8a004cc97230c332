"""The page at `/` and that of the API at `/docs`: their files, which come from this process alone, and the JSON that
the first one reads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import Field

from services.http_gateway import sse
from services.http_gateway.lifetime import Ending, ServerEnds
from services.http_gateway.reading import BodyRoute, register_ids
from services.shared.identity.caller import bearer
from tandem.client.clients import AsyncClient
from tandem.client.contract import MOST_MESSAGES, MOST_TOOLS, to_message
from tandem.client.request import Question, solve_request
from tandem.client.results import to_dict, to_dict_or_none
from tandem.errors import RequestError
from tandem.method.conversation import Task
from tandem.openai.chat_request import ChatMessage, ToolBody, as_conversation
from tandem.openai.json_body import JsonBody
from tandem.openai.parameters import RefusedParameter
from tandem.v1 import tandem_pb2

_FILES = Path(__file__).parent / "assets"
# Nothing from elsewhere, and nothing inline: what a model writes can be shown, and never runs.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-cache"}
# Swagger UI writes styles into its elements, and its icons into its style sheet.
_DOCS_POLICY = _POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'").replace(
    "img-src 'self'", "img-src 'self' data:"
)
Messages = AsyncIterator[tandem_pb2.SolveEvent]


class Asked(JsonBody):
    """What the page's form holds: a question, or the messages of a conversation, which may offer tools; both as in
    OpenAI's chat.
    `threshold`: for every stage, where it is not the profile's.
    """

    question: str = ""
    messages: list[ChatMessage] = Field(default_factory=list, max_length=MOST_MESSAGES)
    tools: list[ToolBody] = Field(default_factory=list, max_length=MOST_TOOLS)
    json_schema: str = ""
    checks: tuple[str, ...] = ()
    task: Task = "answer"
    profile: str = ""
    threshold: float | None = Field(default=None, ge=0, le=1)

    @property
    def text(self) -> Question:
        """Raises RefusedParameter where there is neither, or both."""
        if bool(self.question) == bool(self.messages):
            raise RefusedParameter("question", "give either a question or messages", "invalid_value")
        return self.question or as_conversation(self.messages)


def _caller(request: Request, authorization: Annotated[str, Header()] = "") -> AsyncClient:
    """Return the gateway's client on behalf of who looks at the page."""
    client: AsyncClient = request.app.state.gateway
    return client.for_caller(bearer(authorization))


Caller = Annotated[AsyncClient, Depends(_caller)]


register_ids()
api = APIRouter(prefix="/api", include_in_schema=False, route_class=BodyRoute)


def mount(app: FastAPI, client: AsyncClient, jaeger: str = "") -> None:
    """Adds the pages and the API of the first one. `jaeger`: where its links to traces lead; empty: it has none."""
    app.state.gateway, app.state.jaeger = client, jaeger
    app.include_router(api)
    app.get("/", include_in_schema=False, response_model=None)(_index)
    app.get("/docs", include_in_schema=False, response_model=None)(_docs)
    app.mount("/docs/assets", _Files(packages=[("fastapi_swagger", "resources")]))
    app.mount("/assets", _Files(directory=_FILES))


@api.get("/profiles")
async def profiles(client: Caller, request: Request) -> dict[str, Any]:
    own = {"jaeger": request.app.state.jaeger, "max_body_bytes": request.app.state.max_body_bytes}
    return {**to_dict(await client.profiles()), **own}


@api.get("/requests")
async def requests(client: Caller, where: str = "", limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> dict[str, Any]:
    """`where` as in `tandem request list`."""
    return to_dict(await client.list(where, limit))


@api.get("/requests/{request_id:id}/timeline")
async def timeline(client: Caller, request_id: str) -> dict[str, Any]:
    """What the request did and when, from Temporal's history of it."""
    return to_dict(await client.timeline(request_id))


@api.post("/requests")
async def ask(client: Caller, asked: Asked) -> dict[str, str]:
    """Starts a request, which goes on when the page is closed or loaded again; its stop button cancels it."""
    started = solve_request(
        asked.text,
        profile=asked.profile,
        task=asked.task,
        threshold=asked.threshold,
        json_schema=asked.json_schema,
        checks=asked.checks,
        tools=[tool.function.model_dump() for tool in asked.tools],
        keep_running=True,
    )
    async with aclosing(client.messages(started)) as messages:
        accepted = (await anext(messages)).accepted
    return {"request_id": accepted.request_id}


@api.post("/requests/{request_id:id}/cancel")
async def cancel(client: Caller, request_id: str) -> dict[str, Any]:
    return to_dict(await client.cancel(request_id))


@api.get("/requests/{request_id:id}/events", response_model=None)
async def events(
    client: Caller, request: Request, request_id: str, last_event_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """The events after `Last-Event-ID`, each with its cursor as its id, to `completed` or `failed`. Before those it
    ends where this process does: the page goes on with another.
    """
    joined = to_message(tandem_pb2.SolveRequest, request_id=request_id, resume_after=last_event_id, keep_running=True)
    messages = client.messages(joined)
    first = await anext(messages)  # a refusal is an HTTP status
    stream = _stream(first, messages, request.app.state.ending)
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)


@api.get("/requests/{request_id:id}")
async def request(client: Caller, request_id: str) -> dict[str, Any]:
    """Return the request. Without a result there is none, rather than an empty one."""
    return to_dict_or_none(await client.get(request_id), "result", "shadow")


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update({**_HEADERS, "content-security-policy": _POLICY})
        return response


async def _index() -> FileResponse:
    return FileResponse(_FILES / "index.html", headers={**_HEADERS, "content-security-policy": _POLICY})


async def _docs() -> FileResponse:
    """It loads the schema, for which the API's credential is needed."""
    return FileResponse(_FILES / "docs.html", headers={**_HEADERS, "content-security-policy": _DOCS_POLICY})


async def _stream(first: tandem_pb2.SolveEvent, messages: Messages, ending: Ending) -> AsyncIterator[bytes]:
    yield _event(first)
    try:
        async for message in sse.with_pings(messages, ending):
            yield _event(message) if message else sse.PING
    except ServerEnds:
        return
    except RequestError as error:
        yield sse.event({"kind": "failed", "message": str(error)})


def _event(message: tandem_pb2.SolveEvent) -> bytes:
    kind = message.WhichOneof("event")
    return sse.event({"kind": kind, **(to_dict(getattr(message, kind)) if kind else {})}, message.cursor)
