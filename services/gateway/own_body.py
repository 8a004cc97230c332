"""When a request's own body goes to the large model's API, and not what was read of it."""

from __future__ import annotations

from dataclasses import replace

from services.shared.request_log.bodies import Bodies
from tandem.method.errors import InvalidArgument, Unavailable
from tandem.method.profile.profile import Profile
from tandem.method.request.plan import Plan, by_llm
from tandem.method.request.request import SolveInput, SolveRequest
from tandem.method.rule.stop_rule import NEVER
from tandem.v1 import tandem_pb2


def as_asked(plan: Plan, request: SolveRequest) -> Plan:
    """Where the large model is asked by its name it answers, also in a pair whose insights begin no answers, and
    whatever small models agree on. No other model does while it cannot be reached, so it is waited for as they are.
    """
    stop = request.stop
    if stop.threshold != NEVER or stop.thresholds or stop.max_stage is not None:
        return plan
    plan = replace(plan, trial=replace(plan.trial, agree=0))
    plan = by_llm(plan) if request.task == "chat" and not plan.llm_finishes else plan
    patience = max(plan.llm_unavailable_timeout_seconds, plan.unavailable_timeout_seconds)
    if not plan.llm_finishes:  # a brief, or a beginning, which a small model answers from
        return plan
    return replace(plan, llm_must_answer=True, llm_unavailable_timeout_seconds=patience)


def passes(profile: Profile, plan: Plan, request: SolveRequest) -> bool:
    """Where the large model writes what it is asked, and not an insight that a prompt of the profile's asks for."""
    api = profile.llm.api
    is_its_protocol = api is not None and request.native is not None and api.protocol == request.native.protocol
    may_finish = request.budget.max_llm_tokens != 0 and request.stop.max_stage is None
    begins_answer = plan.handoff == "continuation" and bool(plan.stages) and not profile.prompts.llm_prefix
    return is_its_protocol and request.task == "chat" and may_finish and (plan.is_llm_alone or begins_answer)


def require_passed(task: SolveInput, native: tandem_pb2.Native) -> None:
    """Raises InvalidArgument where the body needs to be passed on and cannot."""
    if task.request.native is None and native.needs:
        raise InvalidArgument(
            f"{native.needs} is passed on to a large model behind an API of the protocol {native.protocol!r} alone, "
            f"and that of {task.plan.profile!r} is none, or does not write this answer",
            field=native.needs,
            reason="NOT_PASSED_ON",
        )


async def kept(task: SolveInput, native: tandem_pb2.Native, bodies: Bodies) -> SolveInput:
    """The task, with its body in the request log where that is passed on: once nothing refuses the request, so that no
    text stays of one that is. Raises Unavailable where the log does not take a body that needs to be passed on.
    """
    own = task.request.native
    try:
        if own is not None:
            await bodies.keep(task.request_id, own.digest, native.body)
        return task
    except Unavailable:
        if native.needs:
            raise
        return replace(task, request=replace(task.request, native=None))
