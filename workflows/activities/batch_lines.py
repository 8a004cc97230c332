"""How a request's workflow ended, and the line that a batch writes: in the form in which the request came, OpenAI's or
Tandem's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.converter import value_to_type
from temporalio.exceptions import ApplicationError

from services.shared.file_store.paths import ANSWERS, ERRORS
from tandem.client.results import to_dict
from tandem.convert.results import result_to_pb
from tandem.method.request.batch import AdmittedLine, AskOutcome
from tandem.method.request.result import SolveResult, StopReason
from tandem.openai.chat_reply import completion

Handle = WorkflowHandle[Any, SolveResult]
_SHOWN = (
    "request_id",
    "trace_id",
    "profile",
    "answer",
    "reasoning",
    "complete",
    "stop",
    "cost",
    "usage",
    "checks",
    "trials",
    "notes",
)
_REASONS = {
    "batch_cancelled": "the batch was cancelled before this request was asked",
    "budget_exhausted": "the budget of the batch did not pay for this request",
    "batch_expired": "the window of the batch was over before this request was asked",
}


@dataclass(frozen=True, slots=True)
class Solved:
    """`result` without an `error` is an answer; with one it is the bill of a request that has none. `code` names the
    error.
    """

    result: SolveResult | None
    code: str = ""
    error: str = ""

    @property
    def outcome(self) -> AskOutcome:
        kind = "answered" if not self.error else "cancelled" if self.code == "cancelled" else "failed"
        return AskOutcome(kind, self.result.cost.usd if self.result else 0.0)


async def solved(handle: Handle) -> Solved:
    """Waits for the end. Raises RPCError where Temporal does not answer."""
    try:
        result = await handle.result()
    except WorkflowFailureError as error:
        return _failed(error)
    if result.stop.reason is StopReason.CANCELLED:
        return Solved(result, "cancelled", "the request was cancelled")
    return Solved(result)


def _failed(error: WorkflowFailureError) -> Solved:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return Solved(None, "ended", f"the request ended without a result: {cause}")
    bill = value_to_type(SolveResult, cause.details[0]) if cause.details else None
    return Solved(bill, (cause.type or "failed").lower(), str(cause))


def answer_line(line: AdmittedLine, solved: Solved, created: int) -> tuple[str, bytes]:
    """(kind, line): for ANSWERS or for ERRORS. `created` is Unix time in seconds."""
    result = result_to_pb(replace(solved.result, request_id=_public_id(line))) if solved.result else None
    if line.form == "plain":
        shown = {name: value for name, value in to_dict(result).items() if name in _SHOWN} if result else {}
        return ANSWERS, _plain(line, {**shown, **({"answer": None} if solved.error else {})}, _error(solved))
    if result is None or solved.error:
        return ERRORS, _openai(line, None, _error(solved), result.cost.usd if result else 0.0)
    body = completion(result, result.request_id, created, line.metadata)
    response = {"status_code": 200, "request_id": result.request_id, "body": body}
    return ANSWERS, _openai(line, response, None, result.cost.usd)


def unasked_line(line: AdmittedLine, reason: str) -> tuple[str, bytes]:
    """(kind, line) of a request that was not asked; `reason` as in tandem.method.request.batch.UNASKED."""
    error = {"code": reason, "message": _REASONS.get(reason, reason)}
    if line.form == "plain":
        return ANSWERS, _plain(line, {"answer": None}, error)
    return ERRORS, _openai(line, None, error, 0.0)


def _openai(
    line: AdmittedLine, response: dict[str, Any] | None, error: dict[str, str] | None, usd: float | None
) -> bytes:
    request_id = f"batch_req_{_public_id(line)}"
    return _encoded(
        {"id": request_id, "custom_id": line.custom_id, "response": response, "error": error, "cost_usd": usd}
    )


def _plain(line: AdmittedLine, fields: dict[str, Any], error: dict[str, str] | None) -> bytes:
    return _encoded({"id": line.custom_id, **fields, "metadata": line.metadata, "error": error})


def _error(solved: Solved) -> dict[str, str] | None:
    return {"code": solved.code, "message": solved.error} if solved.error else None


def _public_id(line: AdmittedLine) -> str:
    """Without the tenant, as its owner knows it."""
    return line.input.request_id.rpartition("/")[2]


def _encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
