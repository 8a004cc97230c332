"""A request begins, or joins the one there is, once its tenant may and its policy is known."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import partial

from services.gateway.admission import Admission, check_request_id, request_fingerprint
from services.gateway.checks import check_passed_schemas, check_schemas
from services.gateway.learning import Learner
from services.gateway.own_body import kept, passed_body, passed_on, require_passed
from services.gateway.policies import Policies
from services.gateway.public_hosts import require_public
from services.gateway.session_budgets import Join, SessionBudgets
from services.gateway.states import States
from services.gateway.temporal import AdmittedRequest, Workflows
from services.gateway.tenancy import Tenancy
from services.shared.identity.turns import LookUps
from services.shared.observability.tracing import current_trace_id
from services.shared.request_log.bodies import Bodies
from services.shared.request_log.sessions import Sessions
from tandem.method.errors import NotFound, Unavailable
from tandem.method.request.job import Job
from tandem.method.request.request import SolveRequest
from tandem.method.request.session import session_of
from tandem.openai.protocols import PassedBody
from tandem.v1 import tandem_pb2


class Starting:
    def __init__(
        self,
        admission: Admission,
        workflows: Workflows,
        tenancy: Tenancy,
        policies: Policies,
        learner: Learner,
        sessions: Sessions,
        bodies: Bodies,
        states: States,
        look_ups: LookUps,
    ) -> None:
        self._admission, self._workflows, self._tenancy = admission, workflows, tenancy
        self._policies, self._learner = policies, learner
        self._sessions, self._bodies, self._states, self._look_ups = sessions, bodies, states, look_ups
        self._budgets = SessionBudgets(sessions, workflows.status, tenancy.clock)

    async def found(self, request: tandem_pb2.SolveRequest) -> AdmittedRequest | None:
        """Return the request that there is, where the caller comes back to it or it has ended: it is not admitted
        again. None where the request may be new.

        Raises NotFound where nothing is asked, FailedPrecondition where something else is, LimitReached, Unavailable,
        InvalidArgument.
        """
        if not request.request_id:
            return None
        request_id = check_request_id(request.request_id)
        if not _asks(request):
            async with self._look_ups.turn(request.tenant):
                return await self._workflows.join(request_id)
        if not (request.resume_after or await self._states.is_published(request_id)):
            return None
        asked = self._admission.checked(request)
        async with self._look_ups.turn(request.tenant):
            with suppress(NotFound):  # Temporal has lost it since, or never had it
                return await self._workflows.join_own(request_id, *self._fingerprints(asked))
        return None

    def _fingerprints(self, asked: SolveRequest) -> set[str]:
        """Tell whether its own body is passed on, its plan decided: with it and without."""
        profile = asked.profile or self._admission.default
        bodies = (asked.native, None)
        return {request_fingerprint(replace(asked, native=each), profile, asked.budget) for each in bodies}

    async def start_or_join(self, request: tandem_pb2.SolveRequest) -> AdmittedRequest:
        """Start the request, or join it."""
        asked = self._admission.checked(request)
        permitted = self._tenancy.permit(asked, request.profile or self._admission.default)
        permitted = self._limited(replace(permitted, session=session_of(permitted)))
        name = request.profile or self._admission.default
        serving = await self._learner.serving(permitted, name) or await self._policies.serving(permitted, name)
        # In a thread: tokenising a question would delay all other requests.
        admit = self._admission.admit
        task = await asyncio.to_thread(
            partial(admit, is_unattended=request.keep_running), permitted, current_trace_id(), serving
        )
        await check_schemas(task.request)
        require_passed(task, request.native)
        task, body = await self._passed(task, request.native)
        fingerprint = request_fingerprint(task.request, task.plan.profile, asked.budget)
        join = partial(self._workflows.join_own, task.request_id, fingerprint)
        if task.plan.profile in self._admission.withdrawn:
            return await self._join_ended(task, join)

        async def start(task: Job) -> AdmittedRequest:
            task = await kept(task, body, self._bodies, is_needed=bool(request.native.needs))
            return await self._workflows.start_or_join(task, fingerprint, keep_running=request.keep_running)

        return await self._budgets.begin(task, lambda held: self._tenancy.begin(held, start), join)

    async def _passed(self, task: Job, native: tandem_pb2.Native) -> tuple[Job, PassedBody | None]:
        """Return what of the request's own body its API is sent, and the task with the fees of what that may run and
        the tokens that it can have; None where nothing is passed on. Raises InvalidArgument, ResourceExhausted.
        """
        api = self._admission.profiles[task.plan.profile].llm.api
        if task.request.native is None or api is None:
            return task, None
        names = self._tenancy.tenants.limits(task.request.tenant).passes or ()
        body = await asyncio.to_thread(passed_body, native, api, names)
        await check_passed_schemas(body.schemas, task.request)
        await require_public(body.hosts)
        return passed_on(task, body, api), body

    def _limited(self, request: SolveRequest) -> SolveRequest:
        """Return the request with the least of the limits of its session: a bill is estimated otherwise where a limit
        depends on it.
        """
        of_tenant = self._tenancy.tenants.limits(request.tenant).usd_per_session
        limits = (request.max_session_usd, self._admission.max_session_usd(request.profile), of_tenant)
        given = [limit for limit in limits if limit is not None] if request.session else []
        return replace(request, max_session_usd=min(given, default=None))

    async def spent(self, admitted: AdmittedRequest) -> float | None:
        """Return what the session of a request has cost so far, in USD; None: it has none, or that is not known."""
        with suppress(Unavailable):
            return await self._sessions.spent(admitted.tenant, admitted.session) if admitted.session else None
        return None

    async def _join_ended(self, task: Job, join: Join) -> AdmittedRequest:
        """Return the request of this id, which began before its profile was withdrawn; a new one is refused."""
        try:
            return await join()
        except NotFound:
            self._admission.must_begin(task.plan.profile)
            raise


def _asks(request: tandem_pb2.SolveRequest) -> bool:
    """Tell whether the request asks. Without a question it can only join."""
    return bool(request.question or request.messages)
