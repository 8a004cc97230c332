"""Which session an HTTP request is a turn of."""

from __future__ import annotations

import json
from contextlib import suppress

from fastapi import Request

from tandem.method.request.session import session_name
from tandem.openai.parameters import RefusedParameter
from tandem.openai.protocols import AnyBody
from tandem.v1 import tandem_pb2

NAME, LIMIT = "x-tandem-session", "x-tandem-max-session-usd"
_CLAUDE = "_session_"


def set_session(asked: tandem_pb2.SolveRequest, request: Request, body: AnyBody) -> None:
    """Set the session as its caller names it, the nearest name first: header, own option, metadata, Claude Code's,
    the key of a vendor's cache. Raises RefusedParameter for a limit that is no number.
    """
    labels = body.labels
    named = request.headers.get(NAME) or asked.session or labels.metadata.get("session") or _claudes(labels.user)
    key = body.other("prompt_cache_key")
    asked.session = session_name(named or (key if isinstance(key, str) else ""))
    if limit := request.headers.get(LIMIT):
        try:
            asked.max_session_usd = float(limit)
        except ValueError:
            raise RefusedParameter(LIMIT, f"{LIMIT} is a number of USD, not {limit!r}", "invalid_value") from None


def _claudes(user: str) -> str:
    """Claude Code names its session within its name of the user: as JSON, before 2.1 as a text."""
    with suppress(ValueError, RecursionError):
        told = json.loads(user)
        found = told.get("session_id") if isinstance(told, dict) else None
        return found if isinstance(found, str) else ""
    return user.partition(_CLAUDE)[2]
