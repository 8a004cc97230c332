"""What a profile says about one request. The plan travels with the request, so a later profile changes nothing of it."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tandem.method.checks import TrialPlan
from tandem.method.conversation import Kind, Task, kind_of
from tandem.method.expected import ByLength, Expected
from tandem.method.prices import Prices, Rates, RolePrices
from tandem.method.watched_promise import Watched

if TYPE_CHECKING:  # a client that reads plans and results need not load pydantic
    from tandem.method.profile import Profile


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
class Plan:
    profile: str
    profile_digest: str  # of the prompts and the scorer; a service that has others refuses (docs/decisions, 38)
    handoff: str
    llm: str
    slm: str
    llm_parameters: float
    slm_parameters: float
    stages: list[StagePlan]
    scores_stage_zero: bool
    stage_zero_threshold: float
    answer_max_tokens: int
    answer_format: (
        str  # "message": a text, calls of tools, or both; the large model then writes no stages, but an answer
    )
    prices: Prices
    llm_alone_output_tokens: float  # the mean of what the large model writes alone
    shadow_share: float = 0.0
    llm_finishes: bool = False  # where no stage suffices the large model goes on to its own answer
    prefill_ahead: bool = False
    unavailable_timeout_seconds: float = 8.0  # how long a small model that cannot be reached is waited for
    trial: TrialPlan = field(default_factory=TrialPlan)
    rates: Rates | None = None  # tokens a second on the device at hand; None: not measured
    llm_unavailable_timeout_seconds: float = 0.0
    is_scored: bool = True  # False: nothing scores what the small model writes
    text_threshold: float = 1.0  # the score from which a text without a call is taken, where tools may be called
    stay_below: float = 0.0  # a call with a lower score leaves the rest of its conversation to the large model
    apis: list[str] = field(default_factory=list)  # the roles, llm, slm and second_slm, whose models are behind APIs
    llm_alone_by_length: ByLength | None = None  # better than the mean, where there is one
    watched: Watched | None = None  # the policy whose promise the outcome counts for; None: the caller has changed it
    judge: Judge | None = None  # None: the profile names none for its shadows
    second_slm: str = ""  # empty: there is no second small model
    second_slm_parameters: float = 0.0

    def model(self, role: str) -> str:
        """Name of the model in the role llm, slm or second_slm."""
        return {"llm": self.llm, "second_slm": self.second_slm}.get(role, self.slm)

    @property
    def may_call(self) -> bool:
        """The answer may call tools."""
        return self.answer_format == "message"

    def expected_alone(self, prompt_tokens: int) -> Expected:
        """What the large model would write by itself to a prompt, within the request's own limit."""
        if self.llm_alone_by_length is None:
            return Expected(self.llm_alone_output_tokens)
        return self.llm_alone_by_length.expected(prompt_tokens).at_most(self.answer_max_tokens)


def make_plan(profile: "Profile", task: Task = "answer", json_schema: str = "", *, may_call: bool = False) -> Plan:
    plan = _plan(profile, task, json_schema, kind_of(task, json_schema))
    return _for_calls(profile, plan) if may_call else plan


def _for_calls(profile: "Profile", plan: Plan) -> Plan:
    """The small model tries first where it says how sure it is, as no API does; the large one answers what was not taken."""
    says_how_sure = "slm" not in plan.apis
    return replace(
        plan,
        handoff="continuation",
        stages=[],
        is_scored=says_how_sure,
        stage_zero_threshold=profile.tools.threshold if says_how_sure else 1.0,
        text_threshold=profile.tools.text_threshold if says_how_sure else 1.0,
        stay_below=profile.tools.stay_below,
        answer_format="message",
        llm_alone_output_tokens=profile.llm_alone.tokens("tools"),
        llm_alone_by_length=None,
        llm_finishes=True,
        prefill_ahead=False,
        trial=TrialPlan([0], max_tokens=plan.answer_max_tokens),
    )


def _plan(profile: "Profile", task: Task, json_schema: str, kind: Kind) -> Plan:
    is_scored = kind in profile.stop.tasks
    formats = {"code": "code", "answer": profile.execution.answer_format, "chat": "whole"}
    return Plan(
        profile=profile.name,
        profile_digest=profile.digest,
        handoff=profile.handoff,
        llm=profile.llm.name,
        slm=profile.slm.name,
        llm_parameters=profile.llm.parameters,
        slm_parameters=profile.slm.parameters,
        stages=[StagePlan(s.name, s.max_tokens, s.threshold if is_scored else 1.0) for s in profile.stages],
        scores_stage_zero=profile.stop.stage_zero,
        stage_zero_threshold=profile.stop.stage_zero_threshold if is_scored else 1.0,
        answer_max_tokens=profile.execution.max_tokens,
        answer_format="json" if json_schema else formats[task],
        prices=profile.prices,
        llm_alone_output_tokens=profile.llm_alone.tokens(task),
        shadow_share=profile.shadow.share,
        llm_finishes=profile.stop.otherwise == "llm_finishes",
        prefill_ahead=profile.execution.prefill_ahead,
        unavailable_timeout_seconds=profile.execution.unavailable_timeout_seconds,
        trial=profile.trial.as_plan(kind, profile.execution.max_tokens, profile.trial_order),
        rates=profile.rates,
        llm_unavailable_timeout_seconds=profile.execution.llm_unavailable_timeout_seconds,
        is_scored=not profile.stop.is_off,
        apis=[role for role, model in profile.models.items() if model.api],
        llm_alone_by_length=profile.llm_alone.by_length.get(kind),
        second_slm=profile.second_slm.name if profile.second_slm else "",
        second_slm_parameters=profile.second_slm.parameters if profile.second_slm else 0.0,
    )
