"""Whether a worker is there for a request: without one it would wait to its deadline, and its caller with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState, TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeWorkflowExecutionResponse
from temporalio.client import Client
from temporalio.service import RPCError

from tandem.method.errors import Unavailable
from tandem.method.names import LLM_ACTIVITY, solve_queue

_LOOK_SECONDS = 2.0
_EVENTS_BEFORE_WORK = 4  # the start, and a task for a worker that was scheduled, begun and lost


@dataclass(frozen=True, slots=True)
class Patience:
    """How long nobody may have asked for work: `new` where no worker has worked on the request, `begun` where one has,
    which may be replaced. `quiet`: of a request that waits for a slot of the large model only. A poll lasts for a
    minute, also that of a worker which is busy with all the steps that it may run at once.
    """

    new: timedelta = timedelta(seconds=10)
    begun: timedelta = timedelta(seconds=75)
    quiet: timedelta = timedelta(minutes=2)


PATIENCE = Patience()


class Workers:
    def __init__(self, client: Client, patience: Patience) -> None:
        self._client, self._patience = client, patience

    def watch(self, request_id: str, profile: str) -> Watch:
        return Watch(self, request_id, profile, time.monotonic() + self._patience.new.total_seconds())

    async def must_be_there(self, request_id: str, profile: str) -> None:
        """Raises Unavailable where nobody works on the request, and nobody has asked for its queue's work for longer
        than `patience`.
        """
        since = await self._waits_since(request_id)
        if since is None or await self._have_polled(solve_queue(profile), since):
            return
        seconds = (datetime.now(UTC) - since).total_seconds()
        raise Unavailable(
            f"no worker serves profile {profile!r}: nobody has asked Temporal for its work for {seconds:.0f} s. "
            "Start a worker, "
            "or see why it ended: `tandem status` and `tandem logs worker` on this machine, the worker's pods on a "
            "cluster",
            reason="NO_WORKER",
        )

    async def _waits_since(self, request_id: str) -> datetime | None:
        """Return from when on a worker that is there would have polled; None where one need not have, and where
        Temporal does not say.
        """
        try:
            found = (await self._client.get_workflow_handle(request_id).describe()).raw_description
        except RPCError:
            return None
        if _is_worked_on(found):
            return None
        now = datetime.now(UTC)
        since, patience = min(_waiting_since(found), default=None), self._patience.begun
        if since is None:
            return now - self._patience.quiet
        if found.workflow_execution_info.history_length <= _EVENTS_BEFORE_WORK:
            patience = self._patience.new
        # A poll that was open as the work came would have taken it, so that one from before does not count.
        return since if now - since >= patience else None

    async def _have_polled(self, queue: str, since: datetime) -> bool:
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
        return any(poller.last_access_time.ToDatetime(UTC) > since for poller in found.pollers)


class Watch:
    """A watch over one request that is waited for; the first look is at `next_look` (`time.monotonic`)."""

    def __init__(self, workers: Workers, request_id: str, profile: str, next_look: float) -> None:
        self._workers, self._request_id, self._profile, self._next_look = workers, request_id, profile, next_look

    async def look(self) -> None:
        """Now and then. Raises Unavailable where no worker is there for the request."""
        if time.monotonic() > self._next_look:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            await self._workers.must_be_there(self._request_id, self._profile)


def _is_worked_on(found: DescribeWorkflowExecutionResponse) -> bool:
    decides = found.pending_workflow_task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
    started = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    return decides or any(activity.state == started for activity in found.pending_activities)


def _waiting_since(found: DescribeWorkflowExecutionResponse) -> Iterator[datetime]:
    """Return when each step that waits for any worker was scheduled."""
    if found.HasField("pending_workflow_task"):
        yield found.pending_workflow_task.scheduled_time.ToDatetime(UTC)
    for activity in found.pending_activities:
        if activity.activity_type.name != LLM_ACTIVITY:  # which waits for a slot, however many workers there are
            yield activity.scheduled_time.ToDatetime(UTC)
