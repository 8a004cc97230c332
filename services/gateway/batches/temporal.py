"""The workflows of batches: one for each batch, its id the batch's."""

from __future__ import annotations

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.converter import value_to_type
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from services.shared.process.search_attributes import whose
from services.shared.process.temporal import unavailable
from tandem.method.errors import FailedPrecondition
from tandem.method.names import BATCH_PROGRESS, BATCH_WORKFLOW, CANCEL_SIGNAL, batch_queue
from tandem.method.request.batch import BatchProgress, BatchState, BatchTask


class BatchWorkflows:
    """`is_searchable`: the namespace has our search attributes."""

    def __init__(self, client: Client, is_searchable: bool) -> None:
        self._client, self._is_searchable = client, is_searchable

    async def start(self, task: BatchTask, tenant: str, fingerprint: str) -> None:
        """Start the batch, or leave it as it is where it runs. Raises FailedPrecondition where its id is another's,
        Unavailable.
        """
        try:
            await self._client.start_workflow(
                BATCH_WORKFLOW,
                task,
                id=task.batch_id,
                task_queue=batch_queue(task.profile),
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                memo={"fingerprint": fingerprint},
                search_attributes=whose(task.profile, tenant) if self._is_searchable else TypedSearchAttributes.empty,
            )
        except WorkflowAlreadyStartedError:
            await self._require_same(task.batch_id, fingerprint)
        except RPCError as error:
            raise unavailable(error) from error

    async def progress(self, batch_id: str) -> BatchProgress | None:
        """Return the progress as the workflow has reported it, with or without a worker; None where there is no
        workflow. Raises Unavailable.
        """
        try:
            description = await self._handle(batch_id).describe()
            if description.status == WorkflowExecutionStatus.RUNNING:
                return await _told(description)
            return await self._handle(batch_id).result()
        except WorkflowFailureError as error:
            return BatchProgress(BatchState.FAILED, error=str(error.cause))
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise unavailable(error) from error

    async def cancel(self, batch_id: str) -> None:
        """Ask a running batch to end; one that has ended stays as it is. Raises Unavailable."""
        try:
            await self._handle(batch_id).signal(CANCEL_SIGNAL)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise unavailable(error) from error

    async def _require_same(self, batch_id: str, fingerprint: str) -> None:
        try:
            memo = await (await self._handle(batch_id).describe()).memo()
        except RPCError as error:
            raise unavailable(error) from error
        if memo.get("fingerprint") != fingerprint:
            raise reused(batch_id)

    def _handle(self, batch_id: str) -> WorkflowHandle[object, BatchProgress]:
        return self._client.get_workflow_handle(batch_id, result_type=BatchProgress)


def reused(batch_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"the id {batch_id!r} belongs to a batch with another file, budget, concurrency, window or metadata",
        reason="BATCH_ID_REUSED",
    )


async def _told(description: WorkflowExecutionDescription) -> BatchProgress:
    found = (await description.memo()).get(BATCH_PROGRESS)
    progress: BatchProgress = value_to_type(BatchProgress, found) if found else BatchProgress()
    return progress
