"""How a request's workflow ended, as a batch writes it down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.converter import value_to_type
from temporalio.exceptions import ApplicationError

from tandem.method.batch import AskOutcome
from tandem.method.result import SolveResult, StopReason

Handle = WorkflowHandle[Any, SolveResult]


@dataclass(frozen=True, slots=True)
class Solved:
    """`result` without an `error` is an answer; with one it is the bill of a request that has none. `code` names the error."""

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
