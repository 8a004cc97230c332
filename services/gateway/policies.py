"""Choose the policy by which a request is served: the profile's, or a stricter one where outcomes say that too much
is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

from services.shared.checks.built_in import counts, examples_of
from services.shared.request_log.promises import PolicyOf, Promises
from tandem.method.conversation import Kind
from tandem.method.errors import Unavailable
from tandem.method.profile.profile import Profile
from tandem.method.profile.promise import PromiseMade
from tandem.method.profile.watched_promise import Watched
from tandem.method.request.learning import Learning
from tandem.method.request.request import SolveRequest, StopOverrides
from tandem.method.rule.strictness import by_steps

_STRONGEST = "weight=2"


@dataclass(frozen=True, slots=True)
class Serving:
    """The profile, as strict as `watched` says, or with the rule by which cheap models answer that was learned."""

    profile: Profile
    watched: Watched | None
    learning: Learning | None = None


class Policies:
    """`keep_days(tenant)`: for how long the tenant's outcomes may be kept for a calibration; 0: not at all."""

    def __init__(
        self, profiles: Mapping[str, Profile], promises: Promises, keep_days: Callable[[str], int] = lambda tenant: 0
    ) -> None:
        self._profiles, self._promises, self._keep_days = profiles, promises, keep_days
        self._known: dict[PolicyOf, int] = {}
        self.by_steps = cache(lambda name, kind: by_steps(profiles[name], kind))

    async def serving(self, asked: SolveRequest, name: str) -> Serving | None:
        """None where the request changes the policy itself, or names no profile of this gateway."""
        if name not in self._profiles or asked.checks or asked.stop != StopOverrides():
            return None
        may_call, question = asked.tools.may_call, asked.question
        kind = self._profiles[name].agreement.kind_of(
            asked.task, asked.json_schema, may_call=may_call, question=question
        )
        watched = self.of(name, kind)
        if watched.made:
            step = await self._step(PolicyOf(asked.tenant, name, kind, watched.made), watched.steps)
            watched = self.at(watched, name, step)
        of_examples = strength(asked.question) if kind == "code" else 0
        watched = replace(watched, strength=of_examples, keep_days=self._keep_days(asked.tenant))
        return Serving(self.by_steps(name, kind)[watched.step] if watched.step else self._profiles[name], watched)

    def of(self, name: str, kind: Kind) -> Watched:
        """The policy as it was calibrated."""
        made = promise_of(self._profiles[name], kind)
        evidence = self._profiles[name].evidence(kind)
        if made is None:
            return Watched(kind, evidence)
        steps = len(self.by_steps(name, kind)) - 1
        share = made.watched_share(is_judged=bool(self._profiles[name].shadow.judge))
        return Watched(kind, evidence, made.fingerprint, share, made.confidence, steps=steps)

    def at(self, watched: Watched, name: str, step: int) -> Watched:
        step = min(step, watched.steps)
        return replace(watched, step=step, evidence=self.by_steps(name, watched.kind)[step].evidence(watched.kind))

    async def _step(self, policy: PolicyOf, steps: int) -> int:
        """Return the last that is known where Redis does not answer; the strictest where none is: a promise is kept
        rather than a price.
        """
        try:
            self._known[policy] = await self._promises.step(policy)
        except Unavailable:
            return self._known.get(policy, steps)
        return self._known[policy]


def promise_of(profile: Profile, kind: Kind) -> PromiseMade | None:
    """The promise of what the profile serves; None where it makes none, or serves something else since."""
    return next((made for made in profile.promises if made.task == kind and profile.keeps(made)), None)


def strength(question: str) -> int:
    """What the examples in a program's prompt count (docs/checks.md, Weights)."""
    return sum(counts(examples_of(question, _STRONGEST), _STRONGEST))
