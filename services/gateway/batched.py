"""Requests of a batch, admitted as all others are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from services.batches.admitted import Start
from services.gateway.admission import Admission, request_fingerprint
from services.gateway.checks import check_schemas
from services.gateway.scope import scope
from services.gateway.temporal import Workflows, memo_of
from services.gateway.tenancy import Tenancy
from services.identity.caller import Caller
from tandem.v1 import tandem_pb2


@dataclass(frozen=True, slots=True)
class BatchedRequests:
    admission: Admission
    workflows: Workflows
    tenancy: Tenancy
    loop: asyncio.AbstractEventLoop

    def admit(self, request: tandem_pb2.SolveRequest, caller: Caller) -> Start:
        """The workflow's input and memo; it has no reader, and goes on without. It takes turns as the tenant's other requests do.

        For another thread than the loop's. Raises FailedPrecondition where the tenant has limits or the profile is withdrawn, and TandemError where the request is refused.
        """
        scope(request, caller)
        self.tenancy.require_unlimited(request.tenant)
        asked = self.admission.checked(request)
        task, admitted = self.workflows.prepared(self.admission.admit(asked, trace_id=""), keep_running=True)
        self.admission.must_begin(task.plan.profile)
        asyncio.run_coroutine_threadsafe(check_schemas(task.request), self.loop).result()
        memo = memo_of(task, admitted, request_fingerprint(task, asked.budget))
        return Start(task, memo, task.request.tenant if self.workflows.is_fair else "")

    def require_allowed(self, caller: Caller) -> None:
        """Raises FailedPrecondition where the caller's tenant has limits. Who may act for others names a tenant in each line."""
        if not caller.sees_all:
            self.tenancy.require_unlimited(caller.tenant)
