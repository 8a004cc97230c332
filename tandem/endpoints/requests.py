"""HTTP requests to an endpoint that is probed: a refusal is a finding, a failure is an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import httpx

from tandem.errors import UserError
from tandem.method.endpoint import Api

QUESTION = [{"role": "user", "content": "Count from 1 to 5."}]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
"""What every probe asks, and the JSON schema of what an answer or a tool's arguments are to follow."""
_REFUSALS = (400, 404, 405, 415, 422, 501)


class EndpointError(UserError):
    """An endpoint does not answer, refuses the key, or lacks the model; the message says which, and never has the key."""


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
        """The reply's JSON. Raises Refused, EndpointError."""
        return self._read("POST", url, body)

    def events(self, url: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The objects of a stream of server-sent events. Raises Refused, EndpointError."""
        try:
            with self._client.stream("POST", url, json={**body, "stream": True}) as reply:
                if reply.status_code != httpx.codes.OK:
                    reply.read()
                    self._check(reply)
                for line in reply.iter_lines():
                    if line.startswith("data:") and line.removeprefix("data:").strip() != "[DONE]":
                        with suppress(ValueError):
                            yield json.loads(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise EndpointError(f"{self.api.url} does not answer: {_reason(error)}") from error

    def _read(self, method: str, url: str, body: Mapping[str, Any] | None) -> Any:
        try:
            reply = self._client.request(method, url, json=body)
            self._check(reply)
            return reply.json()
        except httpx.HTTPError as error:
            raise EndpointError(f"{self.api.url} does not answer: {_reason(error)}") from error
        except ValueError as error:
            raise Refused("its reply is no JSON") from error

    def _check(self, reply: httpx.Response) -> None:
        said = _said(reply)
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


def _said(reply: httpx.Response) -> str:
    with suppress(ValueError, AttributeError):
        error = reply.json().get("error")
        found = error.get("message") if isinstance(error, dict) else error
        if found:
            return str(found)[:300]
    return reply.text.strip()[:300] or reply.reason_phrase


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
