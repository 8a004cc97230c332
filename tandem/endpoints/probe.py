"""What an endpoint can do, found out by a few requests of some tokens each, and never assumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tandem.endpoint_key import endpoint_key
from tandem.endpoints.anthropic_probe import AnthropicProbe
from tandem.endpoints.openai_probe import OpenAIProbe
from tandem.endpoints.requests import EndpointError, Loading, Requests
from tandem.errors import SetupError
from tandem.method.endpoint import ANTHROPIC_VERSION, Api, Capabilities

_AGAIN_SECONDS = 2.0
_PROTOCOLS: Mapping[str, Callable[[Requests], OpenAIProbe | AnthropicProbe]] = {
    "openai": OpenAIProbe,
    "anthropic": AnthropicProbe,
}


@dataclass(frozen=True)
class Found:
    """`context_length` and `usd` (input, cached input and output, per million tokens) where the endpoint says them itself."""

    can: Capabilities
    context_length: int | None = None
    usd: tuple[float, float | None, float] | None = None
    told: dict[str, Any] = field(default_factory=dict)


def probe(
    api: Api, timeout: float = 120.0, tell: Callable[[str], None] = lambda _: None, loading_seconds: float = 60.0
) -> Found:
    """A server that still loads its model is waited for; `tell` hears of it. Raises EndpointError: the endpoint does not answer, refuses the
    key, or does not have the model.
    """
    until = time.monotonic() + loading_seconds
    with _asking(api, timeout) as asked:
        while True:
            try:
                listed = asked.require_model()
                return Found(asked.capabilities(), _context(listed), _usd(listed), dict(listed))
            except Loading as loading:
                if time.monotonic() > until:
                    raise
                tell(f"{loading}; asked again for up to {until - time.monotonic():.0f} s")
            time.sleep(_AGAIN_SECONDS)


def reach(api: Api, timeout: float = 20.0) -> None:
    """Costs no token. Raises EndpointError: the endpoint does not answer, refuses the key, or does not have the model."""
    with _asking(api, timeout) as asked:
        asked.require_model()


@contextmanager
def _asking(api: Api, timeout: float) -> Iterator[OpenAIProbe | AnthropicProbe]:
    try:
        key = endpoint_key(api)
    except SetupError as error:
        raise EndpointError(str(error)) from error
    with httpx.Client(timeout=timeout, headers=_headers(api, key)) as client:
        yield _PROTOCOLS[api.protocol](Requests(client, api))


def _headers(api: Api, key: str) -> dict[str, str]:
    if api.protocol == "anthropic":
        return {"anthropic-version": ANTHROPIC_VERSION, **({"x-api-key": key} if key else {})}
    return {"authorization": f"Bearer {key}"} if key else {}


def _context(listed: Mapping[str, Any]) -> int | None:
    """As vLLM, OpenRouter, Anthropic and llama-server call it."""
    meta = listed.get("meta")
    known = [listed.get(name) for name in ("max_model_len", "context_length", "max_input_tokens")]
    known.append(meta.get("n_ctx") if isinstance(meta, dict) else None)
    return next((int(value) for value in known if isinstance(value, int) and value > 0), None)


def _usd(listed: Mapping[str, Any]) -> tuple[float, float | None, float] | None:
    """OpenRouter's list of models has prices per token, as texts."""
    given = listed.get("pricing")
    if not isinstance(given, dict) or "prompt" not in given or "completion" not in given:
        return None
    cached = given.get("input_cache_read")
    return _million(given["prompt"]), None if cached is None else _million(cached), _million(given["completion"])


def _million(per_token: str | float) -> float:
    return round(float(per_token) * 1e6, 6)
