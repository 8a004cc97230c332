"""Requests of a batch, admitted as all others are."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from services.gateway.admission import Admission, request_fingerprint
from services.gateway.batches.admitted import Start
from services.gateway.checks import check_schemas
from services.gateway.learning import Learner
from services.gateway.policies import Policies, Serving
from services.gateway.scope import scope
from services.gateway.temporal import Workflows, admitted_as, memo_of
from services.gateway.tenancy import Tenancy
from services.shared.identity.caller import Caller
from tandem.method.request.request import SolveRequest
from tandem.v1 import tandem_pb2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchedRequests:
    admission: Admission
    workflows: Workflows
    tenancy: Tenancy
    policies: Policies
    learner: Learner
    loop: asyncio.AbstractEventLoop

    def admit(self, request: tandem_pb2.SolveRequest, caller: Caller) -> Start:
        """The workflow's input and memo; it has no reader, and goes on without. It takes turns as the tenant's other
        requests do.

        For another thread than the loop's. Raises FailedPrecondition where the tenant has limits or the profile is
        withdrawn, and TandemError where the request is refused.
        """
        scope(request, caller)
        self.tenancy.require_unlimited(request.tenant)
        asked = self.admission.checked(request)
        serving = self._wait_for(self._serving(asked, request.profile or self.admission.default))
        task = self.admission.admit(asked, "", serving, is_unattended=True)
        admitted = admitted_as(task, keep_running=True)
        self.admission.must_begin(task.plan.profile)
        self._wait_for(check_schemas(task.request))
        memo = memo_of(task, admitted, request_fingerprint(task.request, task.plan.profile, asked.budget))
        return Start(task, memo, task.request.tenant if self.workflows.is_fair else "")

    async def _serving(self, asked: SolveRequest, name: str) -> Serving | None:
        return await self.learner.serving(asked, name) or await self.policies.serving(asked, name)

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def require_allowed(self, caller: Caller) -> None:
        """Raises FailedPrecondition where the caller's tenant has limits. Who may act for others names a tenant in each
        line.
        """
        if not caller.sees_all:
            self.tenancy.require_unlimited(caller.tenant)
