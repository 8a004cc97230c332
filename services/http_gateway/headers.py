"""What the headers of a reply say: the session, what is not followed, what the answer cost and where it stopped."""

from __future__ import annotations

from collections.abc import Sequence

from services.http_gateway import sessions
from tandem.client.events import Accepted
from tandem.v1 import tandem_pb2

_SPENT = "x-tandem-session-usd"
_STOPGAP = "x-tandem-answered-by-small"
"""Of a small model's answer in the place of a large one that failed."""


def session_headers(accepted: Accepted, usd: float = 0.0) -> dict[str, str]:
    """Return the session, and what it has cost; `usd`: of this turn, where it has ended."""
    if not accepted.session:
        return {}
    spent = {} if accepted.session_usd is None else {_SPENT: f"{accepted.session_usd + usd:.10f}"}
    return {sessions.NAME: accepted.session, **spent}


def dropped_header(dropped: Sequence[str]) -> dict[str, str]:
    """Return the places of the body that are not followed, where there are any."""
    return {"x-tandem-dropped": ", ".join(dropped)} if dropped else {}


def headers_of_result(result: tandem_pb2.SolveResult) -> dict[str, str]:
    reason = tandem_pb2.StopReason.Name(result.stop.reason).removeprefix("STOP_REASON_").lower()
    cost = {"x-tandem-cost-usd": f"{result.cost.usd:.10f}"} if result.cost.HasField("usd") else {}
    saved = {"x-tandem-saved-ratio": f"{result.cost.saved_ratio:.4f}"} if result.cost.HasField("saved_ratio") else {}
    return {
        **cost,
        **saved,
        **({_STOPGAP: reason} if result.stop.reason == tandem_pb2.STOP_REASON_LLM_UNAVAILABLE else {}),
        "x-tandem-stop-stage": str(result.stop.stage),
        "x-tandem-stop-reason": reason,
    }
