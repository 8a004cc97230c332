"""What a profile says about one request. The plan travels with the request, so a later profile changes nothing of
it.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tandem.method.conversation import Kind, Task, kind_of
from tandem.method.evidence.checks import TrialPlan
from tandem.method.profile.expected import ByLength, Expected
from tandem.method.profile.prices import Prices, RolePrices, RoleRates
from tandem.method.profile.watched_promise import Watched
from tandem.method.request.learning import Learning
from tandem.method.roles import BILL_ROLES, LLM, SCORER, SLM, WhenUnavailable

if TYPE_CHECKING:  # a client that reads plans and results need not load pydantic
    from tandem.method.profile.profile import Profile


@dataclass(frozen=True)
class StagePlan:
    name: str
    max_tokens: int
    threshold: float


@dataclass(frozen=True)
class Judge:
    """The large model of a profile, which says whether the answers of a shadow and its request mean the same."""

    profile: str
    profile_digest: str
    model: str
    prices: RolePrices


@dataclass(frozen=True)
class PlannedModel:
    """A model of the pair, as one request uses it."""

    name: str
    # N of the TFLOPs formulas; 0: not known.
    parameters: float
    prices: RolePrices
    # Of the device at hand; None: not measured.
    rates: RoleRates | None = None
    # Others run it, behind an API.
    is_api: bool = False


@dataclass(frozen=True)
class Plan:
    profile: str
    # Identifies prompts, models and scorer: a service that holds others refuses (Profile.digest).
    profile_digest: str
    handoff: str
    # By role; the scorer is the first small model, at its own prices and rates.
    models: dict[str, PlannedModel]
    price_version: str
    stages: list[StagePlan]
    scores_stage_zero: bool
    stage_zero_threshold: float
    answer_max_tokens: int
    # "message": a text, calls of tools, or both. The large model then writes no stages, but an answer.
    answer_format: str
    # Mean of the large model's own answers; `llm_alone_by_length` is better, where there is one.
    llm_alone_output_tokens: float
    llm_alone_by_length: ByLength | None = None
    # How often the large model's vendor may run each of its own tools for one reply.
    most_uses: dict[str, int] = field(default_factory=dict)
    shadow_share: float = 0.0
    # Where no stage suffices the large model goes on to its own answer.
    llm_finishes: bool = False
    # Plans of earlier versions do not say, and go on as they began.
    when_unavailable: WhenUnavailable = "small"
    prefill_ahead: bool = False
    # How long a model that cannot be reached is waited for: a small one, the large one (see `llm_patience_seconds`).
    unavailable_timeout_seconds: float = 8.0
    llm_unavailable_timeout_seconds: float = 0.0
    trial: TrialPlan = field(default_factory=TrialPlan)
    # False: nothing scores what the small model writes.
    is_scored: bool = True
    # The policy whose promise the request's outcome counts for; None: the caller has changed the policy.
    watched: Watched | None = None
    # What the request teaches a promise; None: nothing.
    learning: Learning | None = None
    # Of shadows; None: the profile names none.
    judge: Judge | None = None

    @property
    def llm(self) -> PlannedModel:
        return self.models[LLM]

    @property
    def slm(self) -> PlannedModel:
        """The first small model."""
        return self.models[SLM]

    @property
    def prices(self) -> Prices:
        return Prices(self.price_version, {role: model.prices for role, model in self.models.items()})

    @property
    def may_call(self) -> bool:
        """The answer may call tools."""
        return self.answer_format == "message"

    @property
    def is_llm_alone(self) -> bool:
        """The large model writes no stages, but an answer by itself."""
        return self.may_call or self.trial.agree > 0 or (self.llm_finishes and not self.stages)

    @property
    def llm_patience_seconds(self) -> float:
        """How long a large model that cannot be reached is waited for: where no other model answers, at least as long
        as a small one.
        """
        least = self.unavailable_timeout_seconds if self.when_unavailable == "fail" else 0.0
        return max(self.llm_unavailable_timeout_seconds, least)

    def expected_alone(self, prompt_tokens: int) -> Expected:
        """What the large model would write by itself to a prompt, within the request's own limit."""
        if self.llm_alone_by_length is None:
            return Expected(self.llm_alone_output_tokens)
        return self.llm_alone_by_length.expected(prompt_tokens).at_most(self.answer_max_tokens)


def make_plan(
    profile: "Profile", task: Task = "answer", json_schema: str = "", *, may_call: bool = False, question: str = ""
) -> Plan:
    plan = _plan(profile, task, json_schema, kind_of(task, json_schema))
    if may_call:
        plan = _for_calls(profile, plan)
    kind = profile.agreement.kind_of(task, json_schema, may_call=may_call, question=question)
    return _by_agreement(profile, plan) if kind in profile.agreement.kinds else plan


def _by_agreement(profile: "Profile", plan: Plan) -> Plan:
    """The small models are asked together, and the large one answers by itself what they do not say alike."""
    return replace(
        by_llm(plan),
        is_scored=False,
        stage_zero_threshold=1.0,
        trial=_agreement(profile, plan),
    )


def _agreement(profile: "Profile", plan: Plan) -> TrialPlan:
    cap = plan.answer_max_tokens if plan.may_call else profile.trial.max_tokens or plan.answer_max_tokens
    return profile.agreement.as_plan(cap, profile.small_roles, profile.trial.limit)


def _for_calls(profile: "Profile", plan: Plan) -> Plan:
    """The large model answers by itself: no score is evidence for a call."""
    return replace(
        by_llm(plan),
        is_scored=False,
        stage_zero_threshold=1.0,
        answer_format="message",
        llm_alone_output_tokens=profile.llm_alone.tokens("tools"),
        llm_alone_by_length=None,
        trial=TrialPlan(),
    )


def by_llm(plan: Plan) -> Plan:
    """The large model answers by itself, whatever the profile's hand-off."""
    return replace(plan, handoff="continuation", stages=[], llm_finishes=True, prefill_ahead=False)


def _plan(profile: "Profile", task: Task, json_schema: str, kind: Kind) -> Plan:
    is_scored = kind in profile.stop.tasks
    formats = {"code": "code", "answer": profile.execution.answer_format, "chat": "whole"}
    return Plan(
        profile=profile.name,
        profile_digest=profile.digest,
        handoff=profile.handoff,
        models=_models(profile),
        price_version=profile.prices.version,
        stages=[StagePlan(s.name, s.max_tokens, s.threshold if is_scored else 1.0) for s in profile.stages],
        scores_stage_zero=profile.stop.stage_zero,
        stage_zero_threshold=profile.stop.stage_zero_threshold if is_scored else 1.0,
        answer_max_tokens=profile.execution.max_tokens,
        answer_format="json" if json_schema else formats[task],
        llm_alone_output_tokens=profile.llm_alone.tokens(task),
        shadow_share=profile.shadow.share,
        llm_finishes=profile.stop.otherwise == "llm_finishes",
        prefill_ahead=profile.execution.prefill_ahead,
        unavailable_timeout_seconds=profile.execution.unavailable_timeout_seconds,
        trial=profile.trial.as_plan(kind, profile.execution.max_tokens, profile.trial_order),
        llm_unavailable_timeout_seconds=profile.execution.llm_unavailable_timeout_seconds,
        when_unavailable=profile.execution.when_unavailable,
        is_scored=not profile.stop.is_off,
        llm_alone_by_length=profile.llm_alone.by_length.get(kind),
    )


def _models(profile: "Profile") -> dict[str, PlannedModel]:
    named = profile.models | {SCORER: profile.slm}
    rates = profile.rates.by_role if profile.rates else {}
    return {
        role: PlannedModel(
            model.name, model.parameters, profile.prices.of(role), rates.get(role), model.api is not None
        )
        for role in BILL_ROLES
        if (model := named.get(role))
    }
