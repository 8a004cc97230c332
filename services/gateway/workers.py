"""Whether a worker is there for a request: without one it would wait to its deadline, and its caller with it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError

from services.gateway.records import AdmittedRequest
from tandem.method.errors import Unavailable
from tandem.method.names import solve_queue

_PATIENCE = timedelta(minutes=2)
_LOOK_AGAIN_SECONDS = 15.0


class Workers:
    """`patience`: how long nobody may have asked for work. A poll lasts for a minute, and a worker that is replaced is away as long."""

    def __init__(self, client: Client, patience: timedelta = _PATIENCE) -> None:
        self._client, self._patience = client, patience

    def watch(self, request: AdmittedRequest) -> Watch:
        return Watch(self, request, time.monotonic() + self._patience.total_seconds())

    async def must_be_there(self, request: AdmittedRequest) -> None:
        """Raises Unavailable where nobody works on the request, and nobody has asked for its queue's work for as long as `patience`."""
        if await self._is_worked_on(request.request_id) or await self._have_polled(solve_queue(request.profile)):
            return
        raise Unavailable(
            f"no worker serves profile {request.profile!r}: nobody has asked Temporal for its work for "
            f"{self._patience.total_seconds():.0f} s",
            reason="NO_WORKER",
        )

    async def _is_worked_on(self, request_id: str) -> bool:
        """True also where Temporal does not say."""
        try:
            description = await self._client.get_workflow_handle(request_id).describe()
        except RPCError:
            return True
        return _is_worked_on(description)

    async def _have_polled(self, queue: str) -> bool:
        """True also where Temporal does not say."""
        asked = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        try:
            found = await self._client.workflow_service.describe_task_queue(asked)
        except RPCError:
            return True
        since = datetime.now(UTC) - self._patience
        return any(poller.last_access_time.ToDatetime(UTC) > since for poller in found.pollers)


class Watch:
    """Over one request that is waited for; the first look is at `next_look` (`time.monotonic`)."""

    def __init__(self, workers: Workers, request: AdmittedRequest, next_look: float) -> None:
        self._workers, self._request, self._next_look = workers, request, next_look

    async def look(self) -> None:
        """Now and then. Raises Unavailable where no worker is there for the request."""
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + _LOOK_AGAIN_SECONDS
            await self._workers.must_be_there(self._request)


def _is_worked_on(description: WorkflowExecutionDescription) -> bool:
    found = description.raw_description
    decides = found.pending_workflow_task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
    started = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    return decides or any(activity.state == started for activity in found.pending_activities)
