"""Pass a request's own body to the large model's API in place of what was read of it, and say what of it goes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pydantic_core import from_json

from services.shared.checks.built_in import JSON_SCHEMA
from services.shared.request_log.bodies import Bodies
from tandem.method.cost.allowance import check_budget
from tandem.method.cost.sent import sent_in, uses_in
from tandem.method.errors import InvalidArgument, Unavailable
from tandem.method.profile.endpoint import Api
from tandem.method.profile.profile import Profile
from tandem.method.request.events import AnswerText
from tandem.method.request.job import Job
from tandem.method.request.plan import Plan
from tandem.method.request.request import Native, SolveRequest
from tandem.method.roles import LLM
from tandem.method.rule.stop_rule import answer_text
from tandem.openai.allow_list import Allowance
from tandem.openai.parameters import RefusedParameter
from tandem.openai.protocols import PassedBody, pass_on
from tandem.v1 import tandem_pb2

NOT_PASSED_ON = "NOT_PASSED_ON"


def passes(profile: Profile, plan: Plan, request: SolveRequest) -> bool:
    """Tell whether the large model writes what it is asked, and not an insight that a prompt of the profile's asks
    for.
    """
    api = profile.llm.api
    is_its_protocol = api is not None and request.native is not None and api.protocol == request.native.protocol
    may_finish = request.budget.max_llm_tokens != 0 and request.stop.max_stage is None
    begins_answer = plan.handoff == "continuation" and bool(plan.stages) and not profile.prompts.llm_prefix
    return is_its_protocol and request.task == "chat" and may_finish and (plan.is_llm_alone or begins_answer)


def as_passed(task: Job) -> Job:
    """JSON that the large model alone writes, where its API is sent the caller's body with the schema, is that API's to
    hold: it is sent on while it is written, as any other text is, and not checked here unless the caller says so.
    """
    passed = replace(task, plan=replace(task.plan, answer_format="whole"))
    if task.request.native is None or not task.request.json_schema or answer_text(passed) is not AnswerText.INSIGHT:
        return task
    asked = [check for check in task.checks if check.name != JSON_SCHEMA.name or check in task.request.checks]
    return replace(passed, checks=asked)


def passed_body(native: tandem_pb2.Native, api: Api, names: Collection[str]) -> PassedBody:
    """Return what of the body the large model's API is sent. `names`: what the tenant may pass beyond the list and
    beyond what the endpoint allows everybody. Raises InvalidArgument.
    """
    allowance = Allowance(frozenset({*api.passes, *names}), api.fees, api.is_vendors)
    try:
        body = from_json(native.body, allow_inf_nan=False)
        return pass_on(native.protocol, body, allowance)
    except RefusedParameter as error:
        raise InvalidArgument(str(error), field=error.param, reason=NOT_PASSED_ON) from error
    except (ValueError, AttributeError) as error:  # no JSON, or no object
        raise InvalidArgument("native.body is no JSON object", field="native.body") from error


def require_passed(task: Job, native: tandem_pb2.Native) -> None:
    """Raises InvalidArgument where the body needs to be passed on and cannot."""
    if task.request.native is None and native.needs:
        raise InvalidArgument(
            f"{native.needs} is passed on to a large model behind an API of the protocol {native.protocol!r} alone, "
            f"and that of {task.plan.profile!r} is none, or does not write this answer",
            field=native.needs,
            reason=NOT_PASSED_ON,
        )


async def kept(task: Job, body: PassedBody | None, bodies: Bodies, *, is_needed: bool) -> Job:
    """Return the task, with what is passed of its body in the request log: once nothing refuses the request, so that
    no text stays of one that is. Raises Unavailable where the log does not take a body that needs to be passed on.
    """
    own = task.request.native
    if own is None or body is None:
        return task
    try:
        await bodies.keep(task.request_id, own.digest, body.json.decode())
    except Unavailable:
        if is_needed:
            raise
        return _with(task, None)
    return _with(task, replace(own, dropped=body.dropped))


def passed_on(task: Job, body: PassedBody, api: Api) -> Job:
    """Return the request with the tokens that the body can have where its API reads it, and the fees of tools that
    its vendor may run. Raises ResourceExhausted where the budget does not pay for them.
    """
    fees = {tool: api.fees[tool] for tool in sorted(body.tools)}
    llm = replace(task.plan.llm, prices=replace(task.plan.llm.prices, fees=fees))
    plan = replace(task.plan, models={**task.plan.models, LLM: llm}, most_uses=uses_in(body.body, body.tools))
    sent = sent_in(body.body, len(body.json), body.tools)
    tokens = task.question_tokens + sent.others
    check_budget(plan, task.request.budget, tokens)
    return replace(task, plan=plan, question_tokens=tokens, most_prompt=sent.most_tokens)


def _with(task: Job, native: Native | None) -> Job:
    return replace(task, request=replace(task.request, native=native))
