"""A request to every route of the HTTP gateway, given the ids of what `tenant` has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from tests.integration.access.guarded import LINE, QUESTION, Names
from tests.integration.edge import body

MODEL = "scripted-keys"


@dataclass(frozen=True, slots=True)
class Sent:
    """`path` fills the route's place for a name; `more` is for httpx."""

    path: Callable[[Names], str] = lambda names: ""
    more: Callable[[Names], dict[str, Any]] = field(default=lambda names: {})
    erases: str = ""

    def path_of(self, route: str, names: Names) -> str:
        """A name may have a slash, which belongs to it."""
        before, _, rest = route.partition(" ")[2].partition("{")
        before = before.removesuffix("...")
        return before + quote(self.path(names), safe="/" if route.endswith("...") else "") + rest.partition("}")[2]


def _json(made: Callable[[Names], dict[str, Any]]) -> Callable[[Names], dict[str, Any]]:
    return lambda names: {"json": made(names)}


def _upload(names: Names) -> dict[str, Any]:
    return {"files": {"file": ("questions.jsonl", LINE)}, "data": {"purpose": "batch"}}


def _batch(names: Names) -> dict[str, Any]:
    return {"input_file_id": names.file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}


def _message(names: Names) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": QUESTION}]}


def _without_limit(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "max_tokens"}


_REQUEST, _FILE, _BATCH = (lambda names: names.request), (lambda names: names.file), (lambda names: names.batch)
SENT = {
    "POST /v1/chat/completions": Sent(more=_json(lambda names: body(QUESTION, model=MODEL))),
    "POST /v1/messages": Sent(more=_json(_message)),
    "POST /v1/messages/count_tokens": Sent(more=_json(lambda names: _without_limit(_message(names)))),
    "POST /v1/responses": Sent(more=_json(lambda names: {"model": MODEL, "input": QUESTION})),
    "GET /v1/models": Sent(),
    "GET /v1/models/{name}": Sent(lambda names: MODEL),
    "POST /v1/tandem/outcomes": Sent(more=_json(lambda names: {"request_id": names.request, "right": True})),
    "GET /v1/tandem/promises": Sent(),
    "POST /v1/files": Sent(more=_upload),
    "GET /v1/files": Sent(),
    "GET /v1/files/{file_id}": Sent(_FILE),
    "DELETE /v1/files/{file_id}": Sent(_FILE, erases="file"),
    "GET /v1/files/{file_id}/content": Sent(_FILE),
    "POST /v1/batches": Sent(more=_json(_batch)),
    "GET /v1/batches": Sent(),
    "GET /v1/batches/{batch_id}": Sent(_BATCH),
    "POST /v1/batches/{batch_id}/cancel": Sent(_BATCH),
    "GET /": Sent(),
    "GET /assets/...": Sent(lambda names: "app.js"),
    "GET /api/profiles": Sent(),
    "GET /api/requests": Sent(),
    "POST /api/requests": Sent(more=_json(lambda names: {"question": QUESTION})),
    "GET /api/requests/{request_id}": Sent(_REQUEST),
    "GET /api/requests/{request_id}/timeline": Sent(_REQUEST),
    "GET /api/requests/{request_id}/events": Sent(_REQUEST),
    "POST /api/requests/{request_id}/cancel": Sent(_REQUEST),
    "GET /openapi.json": Sent(),
    "GET /docs": Sent(),
    "GET /docs/assets/...": Sent(lambda names: "swagger-ui.css"),
    "GET /healthz": Sent(),
    "GET /readyz": Sent(),
}


async def reply_to(
    http: httpx.AsyncClient, route: str, names: Names, credential: str, **headers: str
) -> httpx.Response:
    """The reply, read to its end."""
    sent, method = SENT[route], route.partition(" ")[0]
    headers |= {"authorization": f"Bearer {credential}"} if credential else {}
    return await http.request(method, sent.path_of(route, names), headers=headers, **sent.more(names))
