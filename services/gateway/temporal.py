"""The gateway's side of Temporal: one workflow per request, its id the request's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import Priority, WorkflowIDReusePolicy
from temporalio.converter import value_to_type
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from services.gateway.history import read_timeline
from services.gateway.visibility import Visibility
from services.gateway.workers import PATIENCE, Patience, Watch, Workers
from services.shared.process.search_attributes import at_start
from services.shared.process.temporal import unavailable
from services.shared.request_log.log import RequestLog
from tandem.method.errors import (
    NOT_AGAIN,
    VENDOR_CODE,
    VENDOR_STATUS,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    TandemError,
    Unavailable,
)
from tandem.method.names import (
    CANCEL_SIGNAL,
    SOLVE_WORKFLOW,
    beside_id,
    judge_id,
    sampled_id,
    shadow_id,
    solve_queue,
)
from tandem.method.profile.watched_promise import Watched
from tandem.method.request.events import AnswerText
from tandem.method.request.job import Job
from tandem.method.request.result import ShadowResult, SolveResult
from tandem.method.request.timeline import Timeline
from tandem.method.roles import SMALL_ROLES
from tandem.method.rule.stop_rule import answer_text
from tandem.method.timeouts import Timeouts

# One in a thousand of Temporal's long polls misses a workflow that ends as the poll begins, and returns after 20 s.
_POLL_SECONDS = 2.0
_STARTS = 3
_LIMITED = 429
_MOST_SHOWN = 199  # characters of a question in a list


@dataclass(frozen=True, slots=True)
class Status:
    """`state` is running, completed or failed; `result` is on failure the bill so far."""

    state: str
    result: SolveResult | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class AdmittedRequest:
    """A request that has a workflow; `stages` names those that the large model may write. `keep_running`: without a
    reader too. `answer_text` is an AnswerText. `watched`: what its outcome counts for. `native`: its own body is sent,
    without what is `dropped`.
    """

    request_id: str
    trace_id: str
    profile: str
    stages: tuple[str, ...]
    tenant: str = ""
    keep_running: bool = False
    answer_text: str = AnswerText.UNSPECIFIED
    began_at: datetime | None = None
    watched: Watched | None = None
    session: str = ""
    native: bool = False
    dropped: tuple[str, ...] = ()


class Workflows:
    """`is_searchable`: see `find_search_attributes`. `is_fair`: tenants take turns where work waits in a queue."""

    def __init__(
        self, client: Client, is_searchable: bool = False, is_fair: bool = False, patience: Patience = PATIENCE
    ) -> None:
        self._client, self.is_fair = client, is_fair
        self.visibility, self.workers = Visibility(client, is_searchable), Workers(client, patience)

    async def start_or_join(self, task: Job, fingerprint: str, *, keep_running: bool = False) -> AdmittedRequest:
        """Start the request's workflow, or join the one there is.

        Raises FailedPrecondition when the id belongs to another question, InvalidArgument where the request is too
        large for Temporal, Unavailable when that does not answer.
        """
        admitted = admitted_as(task, keep_running=keep_running)
        for _ in range(_STARTS):
            try:
                await self._client.start_workflow(
                    SOLVE_WORKFLOW,
                    task,
                    id=task.request_id,
                    task_queue=solve_queue(task.plan.profile),
                    execution_timeout=Timeouts.workflow,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    memo=memo_of(task, admitted, fingerprint),
                    search_attributes=at_start(task),
                    priority=Priority(fairness_key=task.request.tenant) if self.is_fair else Priority.default,
                )
                return admitted
            except WorkflowAlreadyStartedError:
                with suppress(NotFound):  # Temporal has lost it since: the request begins anew
                    return await self.join_own(task.request_id, fingerprint)
            except RPCError as error:
                if error.status == RPCStatusCode.INVALID_ARGUMENT:  # above its limit of a payload's size
                    raise InvalidArgument(
                        f"Temporal does not keep this request: {error.message}", field="question"
                    ) from error
                raise unavailable(error) from error
        raise Unavailable(f"Temporal lost request {task.request_id!r} again and again", reason="TEMPORAL_UNAVAILABLE")

    async def join(self, request_id: str) -> AdmittedRequest:
        """Return the request with this id, whether it runs or has ended. Raises NotFound, Unavailable."""
        return _admitted(request_id, await (await self._describe(request_id)).memo())

    async def join_own(self, request_id: str, *fingerprints: str) -> AdmittedRequest:
        """Join as `join` does. Raises FailedPrecondition where the id has none of these, or is another workflow's."""
        description = await _described(self._handle(request_id))
        memo = await description.memo()
        if description.workflow_type != SOLVE_WORKFLOW or memo.get("fingerprint") not in fingerprints:
            raise _reused(request_id)
        return replace(_admitted(request_id, memo), began_at=description.start_time)

    async def _describe(self, request_id: str) -> WorkflowExecutionDescription:
        """Raises Unavailable, and NotFound also for a workflow of another kind: others may use the namespace as
        well.
        """
        description = await _described(self._handle(request_id))
        if description.workflow_type != SOLVE_WORKFLOW:
            raise _not_found(request_id)
        return description

    async def result(self, request_id: str, watch: Watch | None = None) -> SolveResult:
        """Wait for the request's end.

        Raises Unavailable, ResourceExhausted or FailedPrecondition with the workflow's reason when it failed, NotFound
        when Temporal has lost it, and what `watch` raises.
        """
        try:
            while True:
                with suppress(TimeoutError):
                    asked = self._handle(request_id).result()
                    return await asyncio.wait_for(asked, _POLL_SECONDS)
                if watch:
                    await watch.look()
        except WorkflowFailureError as error:
            raise failure_of(error.cause) from error
        except RPCError as error:
            raise _not_found_or_unavailable(error, request_id) from error

    async def status(self, request_id: str) -> Status:
        """Raises NotFound for an id that is no request's."""
        if (await self._describe(request_id)).status == WorkflowExecutionStatus.RUNNING:
            return Status("running")
        try:
            return Status("completed", await self._handle(request_id).result())
        except WorkflowFailureError as error:
            cause = error.cause
            details = cause.details if isinstance(cause, ApplicationError) else ()
            return Status("failed", value_to_type(SolveResult, details[0]) if details else None, str(cause))
        except RPCError as error:
            raise _not_found_or_unavailable(error, request_id) from error

    async def timeline(self, request_id: str) -> Timeline:
        """Raises NotFound, Unavailable."""
        await self._describe(request_id)
        try:
            events = self._handle(request_id).fetch_history_events()
            return await read_timeline(events, self._client.data_converter)
        except RPCError as error:
            raise _not_found_or_unavailable(error, request_id) from error

    async def cancel(self, request_id: str) -> None:
        """Ask a running request to stop; one that has ended stays as it is. Raises Unavailable."""
        try:
            await self._handle(request_id).signal(CANCEL_SIGNAL)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:  # it has ended
                raise unavailable(error) from error

    async def cancel_abandoned(self, request_id: str) -> None:
        """Cancel a request that has no reader, unless its caller wants it to go on. Raises NotFound, Unavailable."""
        if not (await self.join(request_id)).keep_running:
            await self.cancel(request_id)

    async def shadow(self, request_id: str) -> ShadowResult | None:
        """The large model's own answer to the request; None where there is none."""
        handle = self._client.get_workflow_handle(shadow_id(request_id), result_type=ShadowResult)
        try:
            if (await handle.describe()).status != WorkflowExecutionStatus.COMPLETED:
                return None
            shadow: ShadowResult = await handle.result()
            return shadow
        except (RPCError, WorkflowFailureError):
            return None

    async def delete(self, request_id: str, log: RequestLog) -> None:
        """Erase a request that has ended: from Redis at once, from Temporal in the background, within about a minute.

        Raises Unavailable where Temporal or Redis does not answer; repeat it then.
        """
        # A shadow may run, and is terminated before its text is erased. The request's own workflow last: a deletion
        # that was cut off is found, and repeated, by the request's id.
        for beside in (shadow_id(request_id), sampled_id(request_id)):
            await self._delete_workflow(beside)
            await log.forget(beside)
        await log.forget(judge_id(request_id))
        for written in (sampled_id(request_id), request_id):
            for role in SMALL_ROLES[1:]:
                await log.forget(beside_id(written, role))
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

    def _handle(self, request_id: str) -> WorkflowHandle[Any, SolveResult]:
        return self._client.get_workflow_handle(request_id, result_type=SolveResult)


async def _described(handle: WorkflowHandle[Any, SolveResult]) -> WorkflowExecutionDescription:
    """Raises NotFound, Unavailable."""
    try:
        return await handle.describe()
    except RPCError as error:
        raise _not_found_or_unavailable(error, handle.id) from error


def admitted_as(task: Job, *, keep_running: bool) -> AdmittedRequest:
    """Return what is known of a request before it has begun."""
    own = task.request.native
    return AdmittedRequest(
        task.request_id,
        task.trace_id,
        profile=task.plan.profile,
        stages=tuple(stage.name for stage in task.plan.stages),
        tenant=task.request.tenant,
        keep_running=keep_running,
        answer_text=answer_text(task),
        watched=task.plan.watched,
        session=task.request.session,
        native=own is not None,
        dropped=own.dropped if own else (),
    )


def memo_of(task: Job, admitted: AdmittedRequest, fingerprint: str) -> dict[str, Any]:
    """Return what goes with a request's workflow: by the fingerprint a repeated request is told from another one, by
    `asked` a person finds it in a list.
    """
    tool = "".join(call.name for call in task.request.answered_calls[-1:])
    asked = {"asked": _beginning(task.request.last_said), "tool": tool}
    return {"fingerprint": fingerprint, "bound": task.bound and asdict(task.bound), **asked, **asdict(admitted)}


def _beginning(text: str) -> str:
    line = " ".join(text[:_MOST_SHOWN].split())
    return f"{line}…" if len(text) > _MOST_SHOWN else line


def _admitted(request_id: str, memo: Mapping[str, Any]) -> AdmittedRequest:
    return AdmittedRequest(
        request_id,
        str(memo["trace_id"]),
        str(memo["profile"]),
        tuple(memo.get("stages", ())),  # Temporal keeps no list that is empty
        str(memo.get("tenant", "")),
        bool(memo.get("keep_running", False)),
        str(memo.get("answer_text", AnswerText.UNSPECIFIED)),
        watched=Watched(**watched) if (watched := memo.get("watched")) else None,
        session=str(memo.get("session", "")),
        native=bool(memo.get("native", False)),
        dropped=tuple(memo.get("dropped", ())),
    )


def failure_of(cause: BaseException) -> TandemError:
    """Return what a caller gets for a request that ended without an answer: by the status of a model's API, where one
    has refused.
    """
    if not isinstance(cause, ApplicationError):
        return Unavailable(str(cause), reason="WORKFLOW_FAILED")
    said, reason, vendor = str(cause), cause.type or "WORKFLOW_FAILED", dict[str, str](*cause.details[1:])
    again = cause.next_retry_delay.total_seconds() if cause.next_retry_delay else None
    status = int(vendor.get(VENDOR_STATUS, 0))
    if status == _LIMITED and VENDOR_CODE not in vendor:
        return ResourceExhausted(said, reason=reason, retry_after_s=again, **vendor)
    if reason in NOT_AGAIN or 400 <= status < 500:
        return FailedPrecondition(said, reason=reason, **vendor)
    return Unavailable(said, reason=reason, retry_after_s=again, **vendor)


def _not_found_or_unavailable(error: RPCError, request_id: str) -> TandemError:
    if error.status == RPCStatusCode.NOT_FOUND:
        return _not_found(request_id)
    return unavailable(error)


def _reused(request_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"request id {request_id!r} belongs to a request with another question, profile, tenant, budget or sampling",
        reason="REQUEST_ID_REUSED",
    )


def _not_found(request_id: str) -> NotFound:
    return NotFound(f"there is no request {request_id!r}", reason="UNKNOWN_REQUEST")
