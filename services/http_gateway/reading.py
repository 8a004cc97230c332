"""How requests are read. Bodies of JSON: whose a body is, is known before it is read, and reading one delays nobody
else.

FastAPI reads, parses and validates a body before any dependency, and on the event loop. Here the credential comes
first, from the headers. Then the body is parsed and validated in a thread, one at a time, each address in its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_type_hints

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import ClientDisconnect

from services.http_gateway import errors
from services.shared.identity.caller import credential_of
from tandem.client.clients import AsyncClient
from tandem.openai.json_body import read_json

MOST_WAITING = 256
"""Requests of one address that wait until they are read, those that are being read included."""
_SMALL_BYTES = 64 * 1024
_LARGE_AT_ONCE = 16  # bodies of one address, which hold 4 MiB each
_UPLOADS_AT_ONCE = 16  # as many as a gateway takes from all
_KNOWN_SECONDS = 5.0
_MOST_KNOWN = 4096
_IPV6_PREFIX = 64  # what a provider gives to one customer
Model = type[BaseModel]


class Places:
    """Places for `at_once` requests of each client address; others wait for one, `most` requests in all."""

    def __init__(self, at_once: int, most: int) -> None:
        self._at_once, self._most = at_once, most
        self._here: Counter[str] = Counter()
        self._places: dict[str, asyncio.Semaphore] = {}

    @contextlib.asynccontextmanager
    async def of(self, request: Request) -> AsyncIterator[None]:
        """Raises HTTPException where too many wait."""
        address = _address(request)
        if self._here[address] >= self._most:
            raise HTTPException(
                429, f"{self._most} requests of your address wait to be read, which is the limit", {"retry-after": "1"}
            )
        self._here[address] += 1
        try:
            async with self._places.setdefault(address, asyncio.Semaphore(self._at_once)):
                yield
        finally:
            self._here[address] -= 1
            if not self._here[address]:
                del self._here[address], self._places[address]


class Credentials:
    """Asks the gateway whether it takes a credential, and again after _KNOWN_SECONDS. The call itself is checked there
    anyway.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._known: dict[str, float] = {}  # until when

    async def check(self, credential: str) -> None:
        """Raises RequestError."""
        if self._known.get(credential, 0.0) > time.monotonic():
            return
        await self._client.for_caller(credential).profiles()
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[credential] = time.monotonic() + _KNOWN_SECONDS


class _Lane:
    """Bodies that are parsed one after the other, those of each address in its turn."""

    def __init__(self, at_once: int, most: int) -> None:
        self.places, self._turns = Places(at_once, most), Places(1, most)
        self._thread = ThreadPoolExecutor(1, "bodies")

    async def parsed(self, request: Request, body: bytes, model: Model) -> BaseModel:
        """Raises RefusedParameter, RequestValidationError."""
        async with self._turns.of(request):
            return await asyncio.get_running_loop().run_in_executor(self._thread, parsed, body, model)


class Bodies:
    """Bodies that are read, in the turns of their addresses.

    What says that it is small does not wait for what is not: who sends large ones may share an address with everyone.
    """

    def __init__(self, client: AsyncClient) -> None:
        self.uploads = Places(_UPLOADS_AT_ONCE, MOST_WAITING)
        self._small, self._large = _Lane(MOST_WAITING, MOST_WAITING), _Lane(_LARGE_AT_ONCE, MOST_WAITING)
        self._credentials = Credentials(client)

    async def read(self, request: Request, model: Model) -> Request:
        """Return the request with its body as a `model`. Raises RequestError, HTTPException, RequestValidationError,
        RefusedParameter.
        """
        lane = self._small if _is_small(request) else self._large
        async with lane.places.of(request):
            await self._credentials.check(credential_of(request.headers))
            try:
                body = await request.body()
            except ClientDisconnect:
                raise HTTPException(errors.CANCELLED, "the client has gone") from None
            if not body or "json" not in request.headers.get("content-type", "json").lower():
                return _Read(request, body, None)  # FastAPI says what is missing
            return _Read(request, body, await lane.parsed(request, body, model))


class BodyRoute(APIRoute):
    """A route whose body is read by the application's Bodies, where the endpoint takes one."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, model = super().get_route_handler(), _model(self.endpoint)
        if model is None:
            return handle

        async def read_and_handle(request: Request) -> Response:
            bodies: Bodies = request.app.state.bodies
            return await handle(await bodies.read(request, model))

        return read_and_handle


class _Read(Request):
    """Gives FastAPI what was read; a model that is one already is not validated again."""

    def __init__(self, request: Request, body: bytes, value: BaseModel | None) -> None:
        super().__init__(request.scope, request.receive)
        self._read, self._value = body, value

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> Any:
        return self._value


def parsed(body: bytes, model: Model) -> BaseModel:
    """Parse in a thread, also the choice among thousands of problems. Raises RefusedParameter,
    RequestValidationError.
    """
    try:
        return model.model_validate(read_json(body))
    except ValidationError as error:
        raise RequestValidationError([errors.deepest(error.errors())]) from None


def _model(endpoint: Callable[..., Any]) -> Model | None:
    hints = get_type_hints(endpoint).values()
    return next((hint for hint in hints if inspect.isclass(hint) and issubclass(hint, BaseModel)), None)


def _is_small(request: Request) -> bool:
    said = request.headers.get("content-length", "")
    return said.isdecimal() and int(said) <= _SMALL_BYTES


def _address(request: Request) -> str:
    """Whose request it is; behind a proxy that is trusted, as X-Forwarded-For says."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))


class IdConvertor(StringConvertor):
    """`{request_id:id}` in a route: an id, or another tenant's as an admin writes it, `TENANT/ID`.

    The slash may come as `%2F`, which the server decodes before it looks for a route. `ID/content` is such a name as
    well: a route that goes on after the id stands before the one that ends there.
    """

    regex = "[^/]+(?:/[^/]+)?"

    def to_string(self, value: str) -> str:
        return value


def register_ids() -> None:
    """Register the ids before the first route with `:id` is made."""
    register_url_convertor("id", IdConvertor())
