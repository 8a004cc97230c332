"""A request that was admitted, and one call of a model for it: every activity and every service works on these two."""

# No `from __future__ import annotations`: see tandem.method.request.request.
from dataclasses import dataclass, field

from tandem.method.evidence.checks import CheckSpec, Repair, TrialLimit
from tandem.method.profile.prices import RolePrices
from tandem.method.request.charge import Charge
from tandem.method.request.plan import Plan
from tandem.method.request.request import SolveRequest
from tandem.method.roles import SLM
from tandem.method.tokens import TokenCounts


@dataclass(frozen=True)
class Step:
    """What differs between two calls of a job: who is called, for what, and at which price.

    `request_id` names the log that is read and written: the job's own, or that of a model which is asked beside. A
    service that serves another profile than `profile_digest` says refuses the step. `stage` is the stage whose insight
    is read (0: none). `max_tokens` are cumulative caps of the text to write: one for each stage of an insight, one for
    an answer. `epoch` identifies the attempt; a higher one fences every lower one off. `trial`: number of the answer,
    from 1, where it is checked; a higher one begins a new text, and corrects `repair` where that is given. `is_alone`:
    the large model answers the plain question by itself. `is_compared`: the answer is compared with another model's, so
    that its beginning is reported while it is written.

    `used_before` and `limit` stay with the worker: what the role had used for this text before the activity, and when
    it is stopped (None: never).
    """

    request_id: str
    profile: str
    profile_digest: str = ""
    role: str = SLM
    stage: int = 0
    max_tokens: tuple[int, ...] = ()
    epoch: int = 0
    trial: int = 0
    repair: Repair | None = None
    is_alone: bool = False
    is_compared: bool = False
    prices: RolePrices = field(default_factory=RolePrices)
    used_before: TokenCounts = field(default_factory=TokenCounts)
    limit: TrialLimit | None = None


@dataclass(frozen=True)
class Job:
    """A request that was admitted: what is asked, and how it is answered. It is the workflow's input, made once;
    nothing corrects it later.

    `plan` has the overrides applied; `question_tokens` counts with the small model's tokenizer, with the most that
    images and files can have. `most_prompt`: tokens that an API can count of the plain question's prompt, at most; 0:
    no API reads it.

    `checks` are those of profile and request that have something to compare with; without any, no trial is made.

    `is_searchable`: the Temporal namespace has our search attributes. `bound`: what the tenant's account holds until
    the bill is known; None where the tenant has no account. `session_bound`: the same of its session's budget.
    `is_unattended`: it goes on without a reader.
    """

    request: SolveRequest
    plan: Plan
    question_tokens: int
    trace_id: str = ""
    is_searchable: bool = False
    checks: list[CheckSpec] = field(default_factory=list)
    bound: Charge | None = None
    session_bound: Charge | None = None
    most_prompt: int = 0
    is_unattended: bool = False

    def step(self, role: str, *, stage: int = 0, max_tokens: tuple[int, ...] = ()) -> Step:
        """A call of the model that has this role, at its prices."""
        return Step(
            self.request_id,
            self.plan.profile,
            self.plan.profile_digest,
            role,
            stage,
            max_tokens,
            prices=self.plan.models[role].prices,
        )

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def is_limited_in_usd(self) -> bool:
        """By the request, its session or its tenant's account."""
        limits = (self.request.budget.max_cost_usd, self.request.max_session_usd, self.bound)
        return any(limit is not None for limit in limits)

    @property
    def most_usd(self) -> float | None:
        """What the bill is held to: the budget, and what is held for it. None: nothing is."""
        held = [bound.usd for bound in (self.bound, self.session_bound) if bound is not None]
        budget = self.request.budget.max_cost_usd
        return min(held if budget is None else [*held, budget], default=None)
