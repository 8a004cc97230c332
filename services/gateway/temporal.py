"""The gateway's side of Temporal: one workflow per request, its id the request's."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from services.common.errors import FailedPrecondition, NotFound, TandemError, Unavailable
from workflows.shared import CANCEL_SIGNAL, SOLVE_WORKFLOW, SolveInput, Timeouts, solve_queue


@dataclass(frozen=True, slots=True)
class Status:
    """`state` is running, completed or failed; `result` is a SolveResult as a dict, on failure the bill so far."""

    state: str
    result: dict[str, Any] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Conducted:
    """A request that has a workflow; `stages` are the names of the stages that the large model may write."""

    request_id: str
    trace_id: str
    profile: str
    stages: tuple[str, ...]


class Workflows:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def start_or_join(self, task: SolveInput, fingerprint: str) -> Conducted:
        """Start the request's workflow, or join the one there is.

        Raises FailedPrecondition when the id belongs to another question, Unavailable when Temporal does not answer.
        """
        conducted = Conducted(
            task.request_id, task.trace_id, task.plan.profile, tuple(stage.name for stage in task.plan.stages)
        )
        try:
            await self._client.start_workflow(
                SOLVE_WORKFLOW,
                task,
                id=task.request_id,
                task_queue=solve_queue(task.plan.profile),
                execution_timeout=Timeouts.workflow,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                memo={"fingerprint": fingerprint, **asdict(conducted)},
            )
            return conducted
        except WorkflowAlreadyStartedError:
            return await self.join(task.request_id, fingerprint)
        except RPCError as error:
            raise _unavailable(error) from error

    async def join(self, request_id: str, fingerprint: str | None = None) -> Conducted:
        """The request with this id, whether it runs or has ended; with a `fingerprint`, only if it has the same.

        Raises NotFound, FailedPrecondition, Unavailable.
        """
        try:
            memo = await (await self._handle(request_id).describe()).memo()
        except RPCError as error:
            raise _not_found_or_unavailable(error, request_id) from error
        if fingerprint is not None and memo.get("fingerprint") != fingerprint:
            raise FailedPrecondition(
                f"request id {request_id!r} belongs to another question or profile", reason="REQUEST_ID_REUSED"
            )
        return Conducted(request_id, str(memo["trace_id"]), str(memo["profile"]), tuple(memo["stages"]))

    async def result(self, request_id: str) -> dict[str, Any]:
        """Wait for the request's end. Raises Unavailable with the workflow's reason when it ended without an answer."""
        try:
            result: dict[str, Any] = await self._handle(request_id).result()
            return result
        except WorkflowFailureError as error:
            cause = error.cause
            reason = cause.type if isinstance(cause, ApplicationError) and cause.type else "WORKFLOW_FAILED"
            raise Unavailable(str(cause), reason=reason) from error
        except RPCError as error:
            raise _unavailable(error) from error

    async def status(self, request_id: str) -> Status:
        """Raises NotFound for an id that Temporal does not know."""
        handle = self._handle(request_id)
        try:
            description = await handle.describe()
            if description.status == WorkflowExecutionStatus.RUNNING:
                return Status("running")
            return Status("completed", await handle.result())
        except WorkflowFailureError as error:
            cause = error.cause
            details = cause.details if isinstance(cause, ApplicationError) else ()
            return Status("failed", details[0] if details else None, str(cause))
        except RPCError as error:
            raise _not_found_or_unavailable(error, request_id) from error

    async def cancel(self, request_id: str) -> Status:
        """Ask a running request to stop; one that has ended stays as it is. Returns the state when the cancel came."""
        status = await self.status(request_id)
        if status.state == "running":
            try:
                await self._handle(request_id).signal(CANCEL_SIGNAL)
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND:  # it ended in between
                    raise _unavailable(error) from error
        return status

    def _handle(self, request_id: str) -> WorkflowHandle[Any, dict[str, Any]]:
        return self._client.get_workflow_handle(request_id, result_type=dict[str, Any])


def _not_found_or_unavailable(error: RPCError, request_id: str) -> TandemError:
    if error.status == RPCStatusCode.NOT_FOUND:
        return NotFound(f"there is no request {request_id!r}", reason="UNKNOWN_REQUEST")
    return _unavailable(error)


def _unavailable(error: RPCError) -> Unavailable:
    return Unavailable(f"Temporal does not answer: {error.message}", reason="TEMPORAL_UNAVAILABLE")
