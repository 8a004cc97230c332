"""A request begins, or joins the one there is, once its tenant may and its policy is known."""

from __future__ import annotations

import asyncio

from services.gateway.admission import Admission, check_request_id, request_fingerprint
from services.gateway.checks import check_schemas
from services.gateway.policies import Policies
from services.gateway.temporal import AdmittedRequest, Workflows
from services.gateway.tenancy import Tenancy
from services.shared.observability.tracing import current_trace_id
from tandem.method.errors import NotFound
from tandem.method.request.request import SolveInput
from tandem.v1 import tandem_pb2


class Starting:
    def __init__(self, admission: Admission, workflows: Workflows, tenancy: Tenancy, policies: Policies) -> None:
        self._admission, self._workflows, self._tenancy, self._policies = admission, workflows, tenancy, policies

    async def begins(self, request: tandem_pb2.SolveRequest) -> bool:
        """Whether it may begin work: then it waits for its tenant's turn. Who comes back to a request that there is
        does not.

        Raises InvalidArgument, Unavailable.
        """
        if not (_asks(request) and request.resume_after):
            return _asks(request)
        try:
            await self._workflows.join(check_request_id(request.request_id))
        except NotFound:
            return True
        return False

    async def start_or_join(self, request: tandem_pb2.SolveRequest) -> AdmittedRequest:
        """Start the request, or join it; an id without a question joins what there is."""
        if request.request_id and not _asks(request):
            return await self._workflows.join(check_request_id(request.request_id))
        asked = self._admission.checked(request)
        permitted = self._tenancy.permit(asked, request.profile or self._admission.default)
        serving = await self._policies.serving(permitted, request.profile or self._admission.default)
        # In a thread: tokenising a question would delay all other requests.
        task = await asyncio.to_thread(self._admission.admit, permitted, current_trace_id(), serving)
        await check_schemas(task.request)
        fingerprint = request_fingerprint(task, asked.budget)
        if task.plan.profile in self._admission.withdrawn:
            return await self._join_withdrawn(task, fingerprint)

        async def start(task: SolveInput) -> AdmittedRequest:
            return await self._workflows.start_or_join(task, fingerprint, keep_running=request.keep_running)

        return await self._tenancy.begin(task, start)

    async def _join_withdrawn(self, task: SolveInput, fingerprint: str) -> AdmittedRequest:
        """The request of this id, which began before. Raises FailedPrecondition for a new one."""
        try:
            return await self._workflows.join_own(task.request_id, fingerprint)
        except NotFound:
            self._admission.must_begin(task.plan.profile)
            raise


def _asks(request: tandem_pb2.SolveRequest) -> bool:
    """Without a question it can only join."""
    return bool(request.question or request.messages)
