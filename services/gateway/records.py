"""What the gateway knows of a request from Temporal."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tandem.method.answer_text import AnswerText
from tandem.method.result import SolveResult


@dataclass(frozen=True, slots=True)
class Status:
    """`state` is running, completed or failed; `result` is on failure the bill so far."""

    state: str
    result: SolveResult | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class AdmittedRequest:
    """A request that has a workflow; `stages` names those that the large model may write. `keep_running`: its caller wants it
    to go on without a reader. `answer_text` is an AnswerText.
    """

    request_id: str
    trace_id: str
    profile: str
    stages: tuple[str, ...]
    tenant: str = ""
    keep_running: bool = False
    answer_text: str = AnswerText.UNSPECIFIED
    began_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One request as Temporal's visibility has it; `attributes` by the names of `SEARCH_ATTRIBUTES`, those that are set."""

    request_id: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    trace_id: str
    profile: str
    tenant: str
    attributes: dict[str, Any]
