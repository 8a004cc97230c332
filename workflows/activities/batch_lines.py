"""The lines that a batch writes: in the form in which the request came, OpenAI's or Tandem's own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from services.file_store.paths import ANSWERS, ERRORS
from tandem.convert.results import result_to_pb
from tandem.method.batch import AdmittedLine
from tandem.openai.completion import completion
from tandem.results import to_dict
from workflows.activities.solved import Solved

_SHOWN = (
    "request_id", "trace_id", "profile", "answer", "reasoning", "complete", "stop", "cost", "usage", "checks", "trials", "notes"
)  # fmt: skip
_REASONS = {
    "batch_cancelled": "the batch was cancelled before this request was asked",
    "budget_exhausted": "the budget of the batch did not pay for this request",
    "batch_expired": "the window of the batch was over before this request was asked",
}


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
    """(kind, line) of a request that was not asked; `reason` as in tandem.method.batch.UNASKED."""
    error = {"code": reason, "message": _REASONS.get(reason, reason)}
    if line.form == "plain":
        return ANSWERS, _plain(line, {"answer": None}, error)
    return ERRORS, _openai(line, None, error, 0.0)


def _openai(line: AdmittedLine, response: dict[str, Any] | None, error: dict[str, str] | None, usd: float) -> bytes:
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
