"""What may come in: checks a request against its profile and makes the workflow's input of it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from dataclasses import replace as changed
from uuid import uuid4

from tandem.method.errors import InvalidArgument, ResourceExhausted
from tandem.method.plan import make_plan
from tandem.method.profile import Profile
from tandem.method.prompts import Task
from tandem.method.sampling import Sampling
from tandem.method.shared import Budget, Plan, SolveInput
from tandem.method.stop_rule import allowance

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TENANT_LENGTH = 64
_SHORTEST_ANSWER = 16  # tokens


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the caller put it. Empty strings and None mean "not given"."""

    request_id: str
    question: str
    profile: str
    budget: Budget = field(default_factory=Budget)
    threshold: float | None = None
    thresholds: Mapping[int, float] = field(default_factory=dict)
    max_stage: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    tenant: str = ""
    task: Task = "answer"


class Admission:
    """`count_tokens[profile]` counts a question's tokens with the profile's small model."""

    def __init__(
        self, profiles: Mapping[str, Profile], default: str, count_tokens: Mapping[str, Callable[[str], int]]
    ) -> None:
        self.profiles, self.default, self._count_tokens = profiles, default, count_tokens

    def admit(self, asked: Asked, trace_id: str) -> SolveInput:
        """The workflow's input. Raises InvalidArgument naming the field, ResourceExhausted for a budget that is too small."""
        _check(asked)
        profile = self._profile(asked.profile)
        tokens = self._count_tokens[profile.name](asked.question)
        if tokens > profile.max_question_tokens:
            raise InvalidArgument(
                f"the question has {tokens} tokens; profile {profile.name} takes {profile.max_question_tokens}",
                field="question",
                reason="QUESTION_TOO_LONG",
            )
        if asked.task == "code" and not profile.prompts.code:
            raise InvalidArgument(f"profile {profile.name} has no prompt for code", field="task")
        plan = _overridden(make_plan(profile, asked.task), asked)
        if allowance(plan, asked.budget, tokens).answer_tokens < min(_SHORTEST_ANSWER, plan.answer_max_tokens):
            raise ResourceExhausted(
                f"a budget of {asked.budget.max_cost_usd} USD does not pay for reading the question and an answer of "
                f"{_SHORTEST_ANSWER} tokens; raise budget.max_cost_usd or shorten the question",
                reason="BUDGET_TOO_SMALL",
            )
        return SolveInput(
            request_id=asked.request_id or uuid4().hex,
            question=asked.question,
            question_tokens=tokens,
            plan=plan,
            budget=asked.budget,
            sampling=asked.sampling,
            trace_id=trace_id,
            tenant=asked.tenant,
        )

    def _profile(self, name: str) -> Profile:
        try:
            return self.profiles[name or self.default]
        except KeyError:
            raise InvalidArgument(
                f"unknown profile {name!r}; served here: {', '.join(self.profiles)}",
                field="profile",
                reason="UNKNOWN_PROFILE",
            ) from None


def fingerprint(task: SolveInput) -> str:
    """Tells a repeated request from another one under the same id."""
    told = f"{task.plan.profile}\0{task.question}" + ("\0code" if task.plan.task == "code" else "")
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _overridden(plan: Plan, asked: Asked) -> Plan:
    last = len(plan.stages)
    for stage in asked.thresholds:
        if stage > last:
            raise InvalidArgument(f"there is no stage {stage}; the last is {last}", field="stop.thresholds")
    wanted = dict.fromkeys(range(last + 1), asked.threshold) if asked.threshold is not None else {}
    wanted.update(asked.thresholds)
    stages = [changed(s, threshold=wanted.get(k, s.threshold)) for k, s in enumerate(plan.stages, 1)]
    finishes = plan.llm_finishes
    if asked.max_stage is not None:
        stages, finishes = stages[: asked.max_stage], False
    return changed(
        plan, stages=stages, llm_finishes=finishes, stage_zero_threshold=wanted.get(0, plan.stage_zero_threshold)
    )


def _check(asked: Asked) -> None:
    if asked.request_id and not _REQUEST_ID.fullmatch(asked.request_id):
        raise InvalidArgument("a request id has 1 to 128 of the characters A-Z a-z 0-9 . _ -", field="request_id")
    if not asked.question.strip():
        raise InvalidArgument("the question is empty", field="question", reason="EMPTY_QUESTION")
    if len(asked.tenant) > _TENANT_LENGTH:
        raise InvalidArgument(f"a tenant has at most {_TENANT_LENGTH} characters", field="tenant")
    cost = asked.budget.max_cost_usd
    if cost is not None and not (math.isfinite(cost) and cost > 0):
        raise InvalidArgument(f"a cost limit is a positive number, not {cost}", field="budget.max_cost_usd")
    for name, value in (
        ("stop.threshold", asked.threshold),
        *(("stop.thresholds", v) for v in asked.thresholds.values()),
    ):
        if value is not None and not 0 <= value <= 1:
            raise InvalidArgument(f"a threshold lies in 0..1, not {value}", field=name)
    sampling = asdict(asked.sampling)
    for name, low, high in (("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)):
        if not low <= sampling[name] <= high or (name == "top_p" and sampling[name] == 0):
            raise InvalidArgument(f"{name} lies in {low}..{high}, not {sampling[name]}", field=f"sampling.{name}")
