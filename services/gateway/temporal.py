"""The gateway's side of Temporal: one workflow per request, its id the request's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
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

from services.gateway.deletion import Deletion
from services.gateway.history import read_timeline
from services.gateway.listing import newest
from services.gateway.query import visibility_query
from services.gateway.records import AdmittedRequest, Listed, Status
from services.gateway.workers import PATIENCE, Patience, Watch, Workers
from services.process.search_attributes import at_start
from services.process.temporal import unavailable
from tandem.method.answer_text import AnswerText, answer_text
from tandem.method.errors import (
    PROFILE_MISMATCH,
    PROMPT_REFUSED,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    TandemError,
    Unavailable,
)
from tandem.method.names import CANCEL_SIGNAL, SEARCH_ATTRIBUTES, SOLVE_WORKFLOW, shadow_id, solve_queue
from tandem.method.request import SolveInput
from tandem.method.result import ShadowResult, SolveResult
from tandem.method.timeline import Timeline
from tandem.method.timeouts import Timeouts

logger = logging.getLogger(__name__)
# One in a thousand of Temporal's long polls misses a workflow that ends as the poll begins, and returns after 20 s.
_POLL_SECONDS = 2.0


class Workflows:
    """`is_searchable`: see `find_search_attributes`. `is_fair`: tenants take turns where work waits in a queue."""

    def __init__(
        self, client: Client, is_searchable: bool = False, is_fair: bool = False, patience: Patience = PATIENCE
    ) -> None:
        self._client, self.is_searchable, self.is_fair = client, is_searchable, is_fair
        self.deletion, self.workers = Deletion(client), Workers(client, patience)

    async def start_or_join(self, task: SolveInput, fingerprint: str, *, keep_running: bool = False) -> AdmittedRequest:
        """Start the request's workflow, or join the one there is.

        Raises FailedPrecondition when the id belongs to another question, InvalidArgument where the request is too large for
        Temporal, Unavailable when that does not answer.
        """
        task, admitted = self.prepared(task, keep_running=keep_running)
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
            try:
                return await self.join_own(task.request_id, fingerprint)
            except NotFound:  # another workflow's id
                raise _reused(task.request_id) from None
        except RPCError as error:
            if error.status == RPCStatusCode.INVALID_ARGUMENT:  # above its limit of a payload's size
                raise InvalidArgument(
                    f"Temporal does not keep this request: {error.message}", field="question"
                ) from error
            raise unavailable(error) from error

    def prepared(self, task: SolveInput, *, keep_running: bool) -> tuple[SolveInput, AdmittedRequest]:
        """What is started, and what is known of it."""
        stages = tuple(stage.name for stage in task.plan.stages)
        whose = (task.request_id, task.trace_id, task.plan.profile, stages, task.request.tenant)
        admitted = AdmittedRequest(*whose, keep_running, answer_text(task))
        return replace(task, is_searchable=self.is_searchable), admitted

    async def join(self, request_id: str) -> AdmittedRequest:
        """The request with this id, whether it runs or has ended. Raises NotFound, Unavailable."""
        return _admitted(request_id, await (await self._describe(request_id)).memo())

    async def join_own(self, request_id: str, fingerprint: str) -> AdmittedRequest:
        """As `join`. Raises FailedPrecondition where the id has another fingerprint."""
        description = await self._describe(request_id)
        memo = await description.memo()
        if memo.get("fingerprint") != fingerprint:
            raise _reused(request_id)
        return replace(_admitted(request_id, memo), began_at=description.start_time)

    async def _describe(self, request_id: str) -> WorkflowExecutionDescription:
        """Raises Unavailable, and NotFound also for a workflow of another kind: others may use the namespace as well."""
        try:
            description = await self._handle(request_id).describe()
        except RPCError as error:
            raise _not_found_or_unavailable(error, request_id) from error
        if description.workflow_type != SOLVE_WORKFLOW:
            raise _not_found(request_id)
        return description

    async def result(self, request_id: str, watch: Watch | None = None) -> SolveResult:
        """Wait for the request's end.

        Raises Unavailable or FailedPrecondition with the workflow's reason when it failed, NotFound when Temporal has lost it, and what
        `watch` raises.
        """
        try:
            while True:
                with suppress(TimeoutError):
                    asked = self._handle(request_id).result()
                    return await asyncio.wait_for(asked, _POLL_SECONDS)
                if watch:
                    await watch.look()
        except WorkflowFailureError as error:
            cause = error.cause
            reason = cause.type if isinstance(cause, ApplicationError) and cause.type else "WORKFLOW_FAILED"
            failure = FailedPrecondition if reason in (PROFILE_MISMATCH, PROMPT_REFUSED) else Unavailable
            raise failure(str(cause), reason=reason) from error
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

    async def running_since_before(self, moment: datetime) -> list[str]:
        """Ids of the requests that began before `moment` and have not ended. Raises Unavailable."""
        query = visibility_query(f'state = running and started < "{moment.isoformat()}"')
        try:
            return [execution.id async for execution in self._client.list_workflows(query)]
        except RPCError as error:
            raise unavailable(error) from error

    async def list(self, query: str, limit: int) -> list[Listed]:
        """Requests that match a visibility query, newest first. Raises FailedPrecondition, Unavailable."""
        if not self.is_searchable:
            raise FailedPrecondition(
                f"this Temporal namespace does not have the search attributes {', '.join(SEARCH_ATTRIBUTES.values())}; "
                "`temporal operator search-attribute create` adds them",
                reason="NOT_SEARCHABLE",
            )
        try:
            return await newest(self._client, query, limit)
        except RPCError as error:
            if error.status == RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidArgument(f"the query cannot be run: {error.message}", field="where") from error
            raise unavailable(error) from error

    def _handle(self, request_id: str) -> WorkflowHandle[Any, SolveResult]:
        return self._client.get_workflow_handle(request_id, result_type=SolveResult)


async def find_search_attributes(client: Client) -> bool:
    """Whether the namespace has all of ours; what it has not is not written, and requests are not found by it."""
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        logger.warning("requests cannot be searched for: %s", error.message)
        return False
    missing = set(SEARCH_ATTRIBUTES.values()) - set(known.custom_attributes)
    if missing:
        logger.warning("requests cannot be searched for: the namespace has no %s", ", ".join(sorted(missing)))
    return not missing


def memo_of(task: SolveInput, admitted: AdmittedRequest, fingerprint: str) -> dict[str, Any]:
    """What goes with a request's workflow: by the fingerprint a repeated request is told from another one."""
    return {"fingerprint": fingerprint, "bound": task.bound and asdict(task.bound), **asdict(admitted)}


def _admitted(request_id: str, memo: Mapping[str, Any]) -> AdmittedRequest:
    return AdmittedRequest(
        request_id,
        str(memo["trace_id"]),
        str(memo["profile"]),
        tuple(memo["stages"]),
        str(memo.get("tenant", "")),
        bool(memo.get("keep_running", False)),
        str(memo.get("answer_text", AnswerText.UNSPECIFIED)),
    )


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
