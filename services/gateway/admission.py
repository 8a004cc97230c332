"""Admission: check a request against its profile and derive the workflow's input from it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from uuid import uuid4

from services.gateway.checks import applicable_checks, check_profile
from services.process.json_schema import check_schema
from tandem.method.errors import InvalidArgument, ResourceExhausted
from tandem.method.plan import Plan, make_plan
from tandem.method.profile import Profile
from tandem.method.request import Budget, SolveInput, SolveRequest, StopOverrides
from tandem.method.sampling import Sampling
from tandem.method.stop_rule import allowance

_REQUEST_ID = re.compile(r"([A-Za-z0-9._-]{1,64}/)?[A-Za-z0-9._-]{1,128}")  # after the tenant, where callers have one
_MAX_TENANT_LENGTH = 64
_MIN_ANSWER_TOKENS = 16
_MAX_CHARACTERS_PER_TOKEN = 32  # on average; the longest tokens, of white space, have some hundred
# Below, logits divided by it leave the range of a float16; every back end takes what lies between.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.01, 2.0


class Admission:
    """`count_tokens[profile]` counts a question's tokens with the profile's small model."""

    def __init__(
        self, profiles: Mapping[str, Profile], default: str, count_tokens: Mapping[str, Callable[[str], int]]
    ) -> None:
        self.profiles, self.default, self._count_tokens = profiles, default, count_tokens
        for profile in profiles.values():
            check_profile(profile)

    def admit(self, request: SolveRequest, trace_id: str) -> SolveInput:
        """The workflow's input. Raises InvalidArgument naming the field, ResourceExhausted for a budget that is too small."""
        _check(request)
        profile = self._profile(request.profile)
        text = request.question + request.json_schema
        _check_length(text, profile)
        tokens = self._count_tokens[profile.name](text)
        if tokens > profile.max_question_tokens:
            what = "question and JSON schema have" if request.json_schema else "the question has"
            raise InvalidArgument(
                f"{what} {tokens} tokens; profile {profile.name} takes {profile.max_question_tokens}",
                field="question",
                reason="QUESTION_TOO_LONG",
            )
        if request.task == "code" and not profile.prompts.code:
            raise InvalidArgument(f"profile {profile.name} has no prompt for code", field="task")
        if request.json_schema and not profile.prompts.structured:
            raise InvalidArgument(f"profile {profile.name} has no prompt for a JSON schema", field="json_schema")
        plan = _overridden(make_plan(profile, request.task, request.json_schema), request)
        if allowance(plan, request.budget, tokens).answer_tokens < min(_MIN_ANSWER_TOKENS, plan.answer_max_tokens):
            raise ResourceExhausted(
                f"a budget of {request.budget.max_cost_usd} USD does not pay for reading the question and an answer of "
                f"{_MIN_ANSWER_TOKENS} tokens; raise budget.max_cost_usd or shorten the question",
                reason="BUDGET_TOO_SMALL",
            )
        request_id = request.request_id or uuid4().hex
        checks = applicable_checks(profile, request)
        return SolveInput(replace(request, request_id=request_id), plan, tokens, trace_id, checks=checks)

    def _profile(self, name: str) -> Profile:
        try:
            return self.profiles[name or self.default]
        except KeyError:
            raise InvalidArgument(
                f"unknown profile {name!r}; served here: {', '.join(self.profiles)}",
                field="profile",
                reason="UNKNOWN_PROFILE",
            ) from None


@dataclass(frozen=True, slots=True)
class _Terms:
    tenant: str
    budget: Budget
    stop: StopOverrides
    sampling: Sampling


def request_fingerprint(task: SolveInput) -> str:
    """Distinguishes a repeated request from another one under the same id: whatever changes its answer, its price or its payer."""
    request = task.request
    identity = f"{task.plan.profile}\0{request.question}" + ("\0code" if request.task == "code" else "")
    identity += "".join(f"\0{check.name}:{check.argument}" for check in request.checks)
    identity += f"\0{request.json_schema}" if request.json_schema else ""
    terms = asdict(_Terms(request.tenant, request.budget, request.stop, request.sampling))
    identity += f"\0{json.dumps(terms, sort_keys=True)}"
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _overridden(plan: Plan, request: SolveRequest) -> Plan:
    last = len(plan.stages)
    for stage in request.stop.thresholds:
        if stage > last:
            raise InvalidArgument(f"there is no stage {stage}; the last is {last}", field="stop.thresholds")
    if (request.stop.max_stage or 0) > last:
        raise InvalidArgument(f"there is no stage {request.stop.max_stage}; the last is {last}", field="stop.max_stage")
    wanted = dict.fromkeys(range(last + 1), request.stop.threshold) if request.stop.threshold is not None else {}
    wanted.update(request.stop.thresholds)
    stages = [replace(s, threshold=wanted.get(k, s.threshold)) for k, s in enumerate(plan.stages, 1)]
    finishes = plan.llm_finishes
    if request.stop.max_stage is not None:
        stages, finishes = stages[: request.stop.max_stage], False
    return replace(
        plan, stages=stages, llm_finishes=finishes, stage_zero_threshold=wanted.get(0, plan.stage_zero_threshold)
    )


def check_request_id(request_id: str) -> str:
    """The id, which may be a request's. Raises InvalidArgument."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidArgument("a request id has 1 to 128 of the characters A-Z a-z 0-9 . _ -", field="request_id")
    return request_id


def _check_length(text: str, profile: Profile) -> None:
    """Before any work on a text: tokenising one that cannot be short enough takes seconds and gigabytes."""
    most = profile.max_question_tokens * _MAX_CHARACTERS_PER_TOKEN
    if len(text) > most:
        raise InvalidArgument(
            f"the question has {len(text)} characters, more than any {profile.max_question_tokens} tokens, which profile "
            f"{profile.name} takes",
            field="question",
            reason="QUESTION_TOO_LONG",
        )


def _check(request: SolveRequest) -> None:
    if request.request_id:
        check_request_id(request.request_id)
    if not request.question.strip():
        raise InvalidArgument("the question is empty", field="question", reason="EMPTY_QUESTION")
    if request.json_schema:
        check_schema(request.json_schema)
        if request.task == "code":
            raise InvalidArgument(
                "a program follows no JSON schema: leave out json_schema or the task", field="json_schema"
            )
    if len(request.tenant) > _MAX_TENANT_LENGTH:
        raise InvalidArgument(f"a tenant has at most {_MAX_TENANT_LENGTH} characters", field="tenant")
    cost = request.budget.max_cost_usd
    if cost is not None and not (math.isfinite(cost) and cost > 0):
        raise InvalidArgument(f"a cost limit is a positive number, not {cost}", field="budget.max_cost_usd")
    for name, value in (
        ("stop.threshold", request.stop.threshold),
        *(("stop.thresholds", v) for v in request.stop.thresholds.values()),
    ):
        if value is not None and not 0 <= value <= 1:
            raise InvalidArgument(f"a threshold lies in 0..1, not {value}", field=name)
    _check_sampling(request.sampling)


def _check_sampling(sampling: Sampling) -> None:
    temperature, top_p = sampling.temperature, sampling.top_p
    if temperature != 0 and not _MIN_TEMPERATURE <= temperature <= _MAX_TEMPERATURE:
        limits = f"{_MIN_TEMPERATURE}..{_MAX_TEMPERATURE}"
        raise InvalidArgument(
            f"temperature is 0 (greedy) or lies in {limits}, not {temperature}", field="sampling.temperature"
        )
    if not 0 < top_p <= 1:
        raise InvalidArgument(f"top_p lies above 0 and at most at 1, not at {top_p}", field="sampling.top_p")
