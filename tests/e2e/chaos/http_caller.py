"""A caller of OpenAI's HTTP API: reads one stream to its end, or raises as the gRPC client does."""

from __future__ import annotations

import json

import grpc
import httpx

from tandem import RequestError

_END = "[DONE]"
_SILENT_SECONDS = 30.0  # the stream has a ping whenever it has nothing else
_STATUSES = {
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    499: grpc.StatusCode.CANCELLED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,  # the gateway behind it is silent: as one that is gone
}


def read(url: str, request_id: str, question: str) -> None:
    """Raises RequestError; UNAVAILABLE without a reason where the connection was lost."""
    body = {"model": "scripted", "stream": True, "messages": [{"role": "user", "content": question}]}
    headers = {"Idempotency-Key": request_id}
    try:
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=_SILENT_SECONDS, trust_env=False
        ) as reply:
            if reply.is_error:
                raise _error(json.loads(reply.read()), reply.status_code)
            for line in reply.iter_lines():
                data = line.removeprefix("data: ")
                if data == _END:
                    return
                if data.startswith('{"error"'):
                    raise _error(json.loads(data))
    except httpx.TransportError as error:
        raise RequestError(grpc.StatusCode.UNAVAILABLE, repr(error)) from error
    raise RequestError(grpc.StatusCode.UNAVAILABLE, "the stream ended before its end")


def _error(body: dict[str, dict[str, str | None]], status: int = 503) -> RequestError:
    """A stream that has begun says no status: what ends it there may pass, or its code says what it is."""
    code, message = (body["error"][name] or "" for name in ("code", "message"))
    known = grpc.StatusCode.CANCELLED if code == "cancelled" else _STATUSES.get(status, grpc.StatusCode.UNKNOWN)
    return RequestError(known, message, code.upper())
