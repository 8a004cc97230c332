"""OpenAI's objects for files and batches. What OpenAI has no name for is in `tandem`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.client.results import to_dict
from tandem.v1 import batch_pb2

ENDPOINT = "/v1/chat/completions"
_STATUSES = {
    "running": "in_progress",
    "finalizing": "finalizing",
    "completed": "completed",
    "cancelling": "cancelling",
    "cancelled": "cancelled",
    "budget_exhausted": "expired",  # what was not asked is in the error file, as in a batch whose time was over
    "expired": "expired",
    "failed": "failed",
}
_ENDS = ("completed", "cancelled", "expired", "failed")


def file_object(file: batch_pb2.File) -> dict[str, Any]:
    return {
        "id": file.file_id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": _seconds(file.created_at_unix_ms),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def batch_object(batch: batch_pb2.Batch) -> dict[str, Any]:
    fields = to_dict(batch)
    state, counts = fields["state"], batch.counts
    status, ended = _STATUSES[state], _seconds(fields["ended_at_unix_ms"])
    return {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": ENDPOINT,
        "model": batch.profile,
        "errors": _errors(batch, state),
        "input_file_id": batch.input_file_id,
        "completion_window": _window(batch),
        "status": status,
        "output_file_id": batch.output_file_id or None,
        "error_file_id": batch.error_file_id or None,
        "created_at": _seconds(batch.created_at_unix_ms),
        "in_progress_at": _seconds(batch.created_at_unix_ms),
        "expires_at": _seconds(fields["expires_at_unix_ms"]),
        **{f"{end}_at": ended if end == status else None for end in _ENDS},
        "request_counts": {
            "total": counts.total,
            "completed": counts.answered,
            "failed": counts.failed + counts.cancelled + counts.unasked,
        },
        "metadata": dict(batch.metadata) or None,
        "tandem": {
            "state": state,
            "counts": fields["counts"],
            "cost_usd": fields["usd"],
            "max_cost_usd": fields["max_cost_usd"],
            "concurrency": batch.concurrency,
        },
    }


def page(objects: Sequence[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    ids = [each["id"] for each in objects]
    ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
    return {"object": "list", "data": list(objects), **ends, "has_more": has_more}


def _errors(batch: batch_pb2.Batch, state: str) -> dict[str, Any] | None:
    """Return why a batch did not ask everything."""
    said = batch.error or ("the budget did not pay for the next request" if state == "budget_exhausted" else "")
    error = {"code": state, "line": None, "message": said, "param": None}
    return {"object": "list", "data": [error]} if said else None


def _window(batch: batch_pb2.Batch) -> str | None:
    if not batch.HasField("expires_at_unix_ms"):
        return None
    return f"{round((batch.expires_at_unix_ms - batch.created_at_unix_ms) / 3_600_000)}h"


def _seconds(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else int(milliseconds / 1000)
