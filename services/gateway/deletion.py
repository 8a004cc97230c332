"""Erasing a request: its workflow and its shadow's in Temporal, its keys in Redis."""

from __future__ import annotations

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from services.process.temporal import unavailable
from services.request_log.log import RequestLog
from tandem.method.names import shadow_id


class Deletion:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def delete(self, request_id: str, log: RequestLog) -> None:
        """Erase a request that has ended: from Redis at once, from Temporal in the background, within about a minute.

        Raises Unavailable where Temporal or Redis does not answer; repeat it then.
        """
        # A shadow may run, and is terminated before its text is erased. The request's own workflow last: a deletion that was cut off is
        # found, and repeated, by the request's id.
        await self._delete_workflow(shadow_id(request_id))
        await log.forget(shadow_id(request_id))
        await log.forget(request_id)
        await self._delete_workflow(request_id)

    async def _delete_workflow(self, workflow_id: str) -> None:
        """Raises Unavailable."""
        execution = WorkflowExecution(workflow_id=workflow_id)
        asked = DeleteWorkflowExecutionRequest(namespace=self._client.namespace, workflow_execution=execution)
        try:
            await self._client.workflow_service.delete_workflow_execution(asked)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise unavailable(error) from error
