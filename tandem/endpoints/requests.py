"""HTTP requests to an endpoint that is probed: a refusal is a finding, a failure is an error."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from tandem.endpoints.event_stream import BadStream, EventStream
from tandem.errors import UserError
from tandem.method.profile.endpoint import Api

QUESTION = [{"role": "user", "content": "Count from 1 to 5."}]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
"""What every probe asks, and the JSON schema of what an answer or a tool's arguments are to follow."""
_MOST_BYTES, _MOST_SECONDS = 1 << 22, 60.0  # of a reply: OpenRouter's list of models has a megabyte
_STREAMED_TOKENS, _SHOWN = 64, 300
_REFUSALS = (400, 404, 405, 415, 422, 501)


class EndpointError(UserError):
    """An endpoint does not answer, refuses the key, or lacks the model; the message says which, and never has the
    key.
    """


class Loading(EndpointError):
    """The endpoint answers 503, as llama-server does, and gateways before others, while it loads its model."""


class Refused(Exception):
    """The endpoint does not do what was asked; `said` is its reason."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


class Requests:
    def __init__(self, client: httpx.Client, api: Api) -> None:
        self._client, self.api = client, api

    @property
    def root(self) -> str:
        """The address without OpenAI's /v1, where servers have what OpenAI does not."""
        return self.api.url.removesuffix("/v1")

    def get(self, url: str) -> Any:
        return self._read("GET", url, None)

    def post(self, url: str, body: Mapping[str, Any]) -> Any:
        """Return the reply's JSON. Raises Refused, EndpointError."""
        return self._read("POST", url, body)

    def events(self, url: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the objects of a stream of server-sent events. Raises Refused, EndpointError."""
        events = EventStream(_STREAMED_TOKENS)
        with self._opened("POST", url, {**body, "stream": True}) as reply:
            for chunk in self._chunks(reply):
                for data in events.feed(chunk):
                    if isinstance(event := _parsed(data), dict):
                        yield event
                if events.is_over:
                    return

    def _read(self, method: str, url: str, body: Mapping[str, Any] | None) -> Any:
        with self._opened(method, url, body) as reply:
            return _parsed(b"".join(self._chunks(reply)))

    @contextmanager
    def _opened(self, method: str, url: str, body: Mapping[str, Any] | None) -> Iterator[httpx.Response]:
        """A reply that is no refusal. Raises Refused, EndpointError."""
        try:
            with self._client.stream(method, url, json=body) as reply:
                if reply.headers.get("content-encoding", "identity").lower() != "identity":
                    raise EndpointError(f"{self.api.url} packs its reply, which it was not asked to")
                if reply.status_code != httpx.codes.OK:
                    self._check(reply, b"".join(self._chunks(reply)))
                yield reply
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EndpointError(f"{self.api.url} does not answer: {_reason(error)}") from error
        except BadStream as error:
            raise EndpointError(f"the reply of {self.api.url} cannot be read: {error}") from error

    def _chunks(self, reply: httpx.Response) -> Iterator[bytes]:
        """The body as it comes. Raises EndpointError where it is larger, or takes longer, than any honest one."""
        size, until = 0, time.monotonic() + _MOST_SECONDS
        for chunk in reply.iter_raw():
            size += len(chunk)
            if size > _MOST_BYTES or time.monotonic() > until:
                raise EndpointError(
                    f"{self.api.url} sends more than {_MOST_BYTES} bytes, or for longer than {_MOST_SECONDS:.0f} s"
                )
            yield chunk

    def _check(self, reply: httpx.Response, body: bytes) -> None:
        said = _said(body) or reply.reason_phrase
        if reply.has_redirect_location:
            to = reply.headers["location"][:_SHOWN]
            raise EndpointError(f"{self.api.url} redirects to {to}, and no redirect is followed: name that address")
        if reply.status_code in (401, 403):
            key = (
                f"the key in {self.api.key}"
                if self.api.key
                else "a request without a key: name one with --large-key or --small-key"
            )
            raise EndpointError(f"{self.api.url} refuses {key}: {said}")
        if reply.status_code == httpx.codes.TOO_MANY_REQUESTS:
            again = reply.headers.get("retry-after")
            raise EndpointError(
                f"{self.api.url} accepts no more requests now{f', again in {again} s' if again else ''}: {said}"
            )
        if reply.status_code in _REFUSALS:
            raise Refused(said)
        if reply.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise Loading(f"{self.api.url} answers 503: {said}")
        if reply.status_code >= 400:
            raise EndpointError(f"{self.api.url} answers {reply.status_code}: {said}")


def _said(body: bytes) -> str:
    with suppress(Refused):
        reply = _parsed(body)
        error = reply.get("error") if isinstance(reply, dict) else None
        found = error.get("message") if isinstance(error, dict) else error
        if found:
            return str(found)[:_SHOWN]
    return body.decode(errors="replace").strip()[:_SHOWN]


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("its reply is no JSON") from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
