"""The plan of one request: what its profile says of it, with what the request itself says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.gateway.policies import Serving
from tandem.method.errors import InvalidArgument
from tandem.method.profile.profile import Profile
from tandem.method.request.learning import Learning
from tandem.method.request.plan import Judge, Plan, by_llm, make_plan
from tandem.method.request.request import SolveRequest, StopOverrides
from tandem.method.roles import LLM
from tandem.method.rule.stop_rule import NEVER


def plan_of(profile: Profile, request: SolveRequest, serving: Serving | None, judge: Judge | None) -> Plan:
    """`profile`: the one of `serving`, where that is given. Raises InvalidArgument naming the field of the request that
    its profile cannot follow.
    """
    may_call, question = request.tools.may_call, request.question
    usual = make_plan(profile, request.task, request.json_schema, may_call=may_call, question=question)
    plan = _by_large(usual, request) if request.model == LLM else usual
    _check_stages(plan, request.stop)
    plan = replace(plan, **_own_terms(plan, request), judge=judge)
    return replace(_learning(plan, serving.learning), watched=serving.watched) if serving else plan


def _learning(plan: Plan, learning: Learning | None) -> Plan:
    """Where tools are offered the first small model tells which kind the request is, and arms were shown by kind."""
    if learning is None:
        return plan
    return replace(plan, learning=learning, trial=replace(plan.trial, as_first=plan.may_call))


def _by_large(plan: Plan, request: SolveRequest) -> Plan:
    """Plan for the large model alone. Asked by its name it answers, also in a pair whose insights begin no answers,
    and whatever small models agree on. Where it fails no other model does, whatever the profile says.
    """
    plan = replace(plan, trial=replace(plan.trial, agree=0))
    plan = by_llm(plan) if request.task == "chat" and not plan.llm_finishes else plan
    if not plan.llm_finishes:  # a brief, or a beginning, which a small model answers from
        return plan
    return replace(plan, when_unavailable="fail")


def _check_stages(plan: Plan, stop: StopOverrides) -> None:
    """Raises InvalidArgument for a stage that the plan does not have, or that cannot suffice in it."""
    last = len(plan.stages)
    wants_stage = stop.threshold not in (None, NEVER) or stop.thresholds or stop.max_stage
    if not plan.is_scored and wants_stage:
        if plan.trial.agree:
            raise InvalidArgument(
                f"profile {plan.profile} takes such answers where its small models agree", field="stop.thresholds"
            )
        why = "no score is evidence for a call" if plan.may_call else "it has no scorer"
        raise InvalidArgument(f"no stage can suffice in profile {plan.profile}: {why}", field="stop.thresholds")
    for stage in stop.thresholds:
        if stage > last:
            raise InvalidArgument(f"there is no stage {stage}; the last is {last}", field="stop.thresholds")
    if (stop.max_stage or 0) > last:
        raise InvalidArgument(f"there is no stage {stop.max_stage}; the last is {last}", field="stop.max_stage")


def _own_terms(plan: Plan, request: SolveRequest) -> Mapping[str, Any]:
    """Return the plan's fields that the request's own thresholds, last stage and length of the answer change."""
    stop, most = request.stop, request.max_answer_tokens
    wanted = dict.fromkeys(range(len(plan.stages) + 1), stop.threshold) if stop.threshold is not None else {}
    wanted.update(stop.thresholds)
    stages = [replace(s, threshold=wanted.get(k, s.threshold)) for k, s in enumerate(plan.stages, 1)]
    terms: dict[str, Any] = {"stage_zero_threshold": wanted.get(0, plan.stage_zero_threshold)}
    if stop.max_stage is not None:
        stages, terms["llm_finishes"] = stages[: stop.max_stage], False
    if most is not None and most < plan.answer_max_tokens:
        if plan.handoff == "continuation":
            stages = [stage for stage in stages if stage.max_tokens < most]
        # The large model alone would keep to the same limit.
        terms |= {"answer_max_tokens": most, "llm_alone_output_tokens": min(plan.llm_alone_output_tokens, most)}
    return terms | {"stages": stages}
