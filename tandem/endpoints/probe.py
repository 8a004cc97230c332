"""What an endpoint can do, found out by a few requests of some tokens each, and never assumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import httpx

from tandem.endpoints.key import endpoint_key
from tandem.endpoints.requests import EndpointError, Loading, Requests
from tandem.errors import SetupError
from tandem.method.profile.endpoint import Api, Capabilities
from tandem.method.profile.prices import RolePrices

_AGAIN_SECONDS = 2.0
_CONTEXTS = range(256, 1 << 31)
_MOST_USD = 1e6  # per million tokens


class Probe(Protocol):
    """What is asked of a protocol's servers: `Probe` in tandem.endpoints.<protocol>_probe, beside the `headers` of
    its requests.
    """

    def require_model(self) -> Mapping[str, Any]:
        """Return what the server says of the model; empty: nothing. Raises EndpointError where it has none of this
        name.
        """
        ...

    def capabilities(self) -> Capabilities:
        """Raises EndpointError where the model does not answer at all."""
        ...


@dataclass(frozen=True)
class Found:
    """`context_length`, `output_tokens` (the most of an answer) and `usd` where the endpoint says them itself."""

    can: Capabilities
    context_length: int | None = None
    output_tokens: int | None = None
    usd: RolePrices | None = None
    told: dict[str, Any] = field(default_factory=dict)


def probe(
    api: Api, timeout: float = 120.0, tell: Callable[[str], None] = lambda _: None, loading_seconds: float = 60.0
) -> Found:
    """A server that still loads its model is waited for; `tell` hears of it. Raises EndpointError: the endpoint does
    not answer, refuses the key, or does not have the model.
    """
    until = time.monotonic() + loading_seconds
    with _asking(api, _key(api), timeout) as asked:
        while True:
            try:
                listed = asked.require_model()
                return Found(asked.capabilities(), _context(listed), _output(listed), _usd(listed), dict(listed))
            except Loading as loading:
                if time.monotonic() > until:
                    raise
                tell(f"{loading}; asked again for up to {until - time.monotonic():.0f} s")
            time.sleep(_AGAIN_SECONDS)


def reach(api: Api, timeout: float = 20.0) -> None:
    """Costs no token. Raises EndpointError: the endpoint does not answer, refuses the key, or does not have the
    model.
    """
    require_model(api, _key(api), timeout)


def require_model(api: Api, key: str, timeout: float) -> None:
    """Require the model as `reach` does, with the key itself."""
    with _asking(api, key, timeout) as asked:
        asked.require_model()


def _key(api: Api) -> str:
    try:
        return endpoint_key(api)
    except SetupError as error:
        raise EndpointError(str(error)) from error


@contextmanager
def _asking(api: Api, key: str, timeout: float) -> Iterator[Probe]:
    protocol = import_module(f"tandem.endpoints.{api.protocol}_probe")
    headers = {"accept-encoding": "identity", **protocol.headers(key)}
    with httpx.Client(timeout=timeout, headers=headers) as client:
        yield protocol.Probe(Requests(client, api))


def _context(listed: Mapping[str, Any]) -> int | None:
    """Return the context length as vLLM, OpenRouter, Anthropic, Groq and llama-server call it."""
    names = ("max_model_len", "context_length", "max_input_tokens", "context_window")
    return _length(*map(listed.get, names), _within(listed, "meta").get("n_ctx"))


def _output(listed: Mapping[str, Any]) -> int | None:
    """Return the longest output as Anthropic, Groq and OpenRouter call it."""
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    return _length(*map(listed.get, names), _within(listed, "top_provider").get("max_completion_tokens"))


def _within(listed: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = listed.get(name)
    return inner if isinstance(inner, dict) else {}


def _length(*said: Any) -> int | None:
    """Return the first that a model may have."""
    return next((value for value in said if isinstance(value, int) and value in _CONTEXTS), None)


def _usd(listed: Mapping[str, Any]) -> RolePrices | None:
    """OpenRouter's list of models has prices per token, as texts; -1 where it depends on the request."""
    given = listed.get("pricing")
    if not isinstance(given, dict):
        return None
    names = ("prompt", "input_cache_read", "completion", "input_cache_write")
    read, cached, output, write = (_million(given.get(name)) for name in names)
    if read is None or output is None:
        return None
    return RolePrices(read, read if cached is None else cached, output, cache_write=write)


def _million(per_token: Any) -> float | None:
    with suppress(ValueError, TypeError, OverflowError):
        usd = round(float(per_token) * 1e6, 6)
        return usd if 0 <= usd < _MOST_USD else None
    return None
