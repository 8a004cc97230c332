"""The job of the workflow that an activity belongs to.

It stands once: in the workflow's input, which Temporal keeps. An activity's own input is a Step, without what is asked,
so a long conversation is neither written to the history nor sent for each activity. The process that runs the workflow
has the job at hand; another one reads it from the beginning of the workflow's history.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from temporalio import activity
from temporalio.exceptions import ApplicationError

from tandem.method.names import BESIDE_WORKFLOW, SHADOW_WORKFLOW
from tandem.method.request.beside import BesideInput
from tandem.method.request.job import Job
from tandem.method.request.result import ShadowInput

_INPUTS: dict[str, type[Any]] = {
    SHADOW_WORKFLOW: ShadowInput,
    BESIDE_WORKFLOW: BesideInput,
}
_known: WeakValueDictionary[str, Job] = WeakValueDictionary()


def remember(run_id: str, job: Job) -> None:
    """For the activities of this workflow in this process, for as long as the workflow is in its memory."""
    _known[run_id] = job


async def current_job() -> Job:
    """The job of the workflow that this activity belongs to. Raises ApplicationError where Temporal has lost it."""
    run_id = activity.info().workflow_run_id or ""
    job = _known.get(run_id)
    if job is None:
        job = await _read()
        remember(run_id, job)
    return job


async def _read() -> Job:
    info, client = activity.info(), activity.client()
    workflow = client.get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
    async for event in workflow.fetch_history_events(page_size=1):
        started = event.workflow_execution_started_event_attributes
        kind = _INPUTS.get(started.workflow_type.name, Job)
        [given] = await client.data_converter.decode(started.input.payloads, [kind])
        return given if isinstance(given, Job) else given.job
    raise ApplicationError(f"the history of {info.workflow_id!r} has no beginning", type="JOB_LOST")
