"""Which session a request belongs to: as its caller names it, else by the beginning of its conversation."""

from __future__ import annotations

import hashlib
import re

from tandem.method.request.request import SolveRequest

NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def session_name(text: str) -> str:
    """A caller's name of a session as one that is kept: a text that cannot be one is a digest."""
    return text if not text or NAME.fullmatch(text) else f"named-{_digest(text)}"


def session_of(request: SolveRequest) -> str:
    """Of a conversation that its caller has not named: by the user's first turn, which stays as it is from turn to
    turn. The system's message before it may have the date in it. Empty: a question by itself.
    """
    if request.session or not (request.history or request.task == "chat"):
        return request.session
    first = next((said.text for said in request.history if said.speaker == "user"), request.question)
    return f"begun-{_digest(first)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
