"""A request under a promise: which cheap models answer it, and whether all models are asked so that it teaches the
promise something (docs/promise.md).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from services.gateway.policies import Serving, strength
from services.shared.request_log.learned import Learned, Lesson
from tandem.access.tenants import DISPUTE_DAYS, TenantLimits
from tandem.method.errors import Unavailable
from tandem.method.profile.profile import Profile
from tandem.method.promise.arms import Arm, LearnedKind, learned_kinds
from tandem.method.promise.rule import Terms, learns_with, watches_with
from tandem.method.promise.standing import Standing
from tandem.method.request.learning import KindNow, Learning, digest_of_learning
from tandem.method.request.request import SolveRequest, StopOverrides
from tandem.method.request.tasks import question_digest
from tandem.method.rule.learned import strictest, with_arm

_Standings = Mapping[LearnedKind, Standing]


@dataclass(frozen=True, slots=True)
class Learner:
    """`limits` of a tenant; `is_shared`: there is a file of tenants, so that a profile's number is no tenant's own.
    `toss` returns a number in 0..1 that nobody can foresee.
    """

    profiles: Mapping[str, Profile]
    learned: Learned
    limits: Callable[[str], TenantLimits]
    is_shared: bool = False
    toss: Callable[[], float] = random.SystemRandom().random

    async def serving(self, asked: SolveRequest, name: str) -> Serving | None:
        """None where nothing is promised for the request: the profile answers it as it is. Where Redis does not answer
        the large model alone does.
        """
        profile = self.profiles.get(name)
        terms = self.terms(profile, asked.tenant) if profile else None
        if profile is None or terms is None or not _is_covered(asked):
            return None
        kinds = [kind for kind in learned_kinds(asked.kind) if kind in profile.learned]
        if not kinds:
            return None
        learning = self._learning(profile, asked, terms)
        with suppress(Unavailable):
            return await self._by_standings(profile, asked, learning, kinds)
        return None

    def terms(self, profile: Profile, tenant: str) -> Terms | None:
        """The tenant's own number, else the profile's; None: there is no promise."""
        promise, own = profile.promise, self.limits(tenant).lose_at_most
        number = promise.lose_at_most if own is None or promise.lose_at_most is None else own
        return Terms(number, promise.learn, promise.confidence, len(profile.learned)) if number else None

    async def _by_standings(
        self, profile: Profile, asked: SolveRequest, learning: Learning, kinds: list[LearnedKind]
    ) -> Serving:
        lessons = {kind: Lesson(asked.tenant, profile.name, kind, learning.digest) for kind in kinds}
        numbers = {kind: len(learning.arms(kind)) for kind in kinds}
        found = await asyncio.gather(*(self.learned.standing(lessons[kind], numbers[kind]) for kind in kinds))
        standings = dict(zip(kinds, found, strict=True))
        serves = {kind: learning.arms(kind)[at] for kind in kinds if (at := standings[kind].serving) is not None}
        arm = strictest(serves) if serves else None
        now: dict[str, KindNow] = {
            kind: _now(standing, learning.arms(kind), arm if kind in serves else None)
            for kind, standing in standings.items()
        }
        is_sampled = self.toss() < _chance(standings, learning.terms) and await self.learned.reserve(
            lessons[kinds[0]], *_whose(asked)
        )
        learning = replace(learning, kinds=now, is_sampled=is_sampled)
        return Serving(with_arm(profile, serves, arm) if arm else profile, None, learning)

    def _learning(self, profile: Profile, asked: SolveRequest, terms: Terms) -> Learning:
        """The number is part of the digest: what was shown for one number is not shown for a smaller one."""
        digest = digest_of_learning(profile.digest, profile.small_roles, (terms.lose_at_most, terms.confidence))
        limits = self.limits(asked.tenant)
        is_own = not self.is_shared and limits.keep_disputes_days is None
        keep_days = DISPUTE_DAYS if is_own else limits.dispute_days
        return Learning(
            asked.tenant,
            profile.name,
            digest,
            terms,
            len(profile.small),
            keep_days=keep_days,
            strength=strength(asked.question) if asked.kind == "code" else 0,
            max_tokens=profile.trial.max_tokens or profile.execution.max_tokens,
        )


def _now(standing: Standing, of_kind: tuple[Arm, ...], arm: Arm | None) -> KindNow:
    """`arm` answers, which is the serving one or a stricter one."""
    if arm is None:
        return KindNow(standing.epoch)
    number = of_kind.index(arm)
    usual = standing.usual_now if number == standing.serving else standing.share_of(number)
    return KindNow(standing.epoch, arm.name, usual)


def _chance(standings: _Standings, terms: Terms) -> float:
    """Where it is not known yet which kind the request is, the greatest of both: it does not depend on the answer."""
    return max(
        watches_with(each.counts, terms, each.serving) if each.serving is not None else learns_with(each.counts, terms)
        for each in standings.values()
    )


def _is_covered(asked: SolveRequest) -> bool:
    """A caller's own model, checks or stop are its own policy; the middle of a conversation was never measured."""
    is_own = asked.model or asked.checks or asked.stop != StopOverrides()
    return not (is_own or any(said.speaker == "assistant" for said in asked.history))


def _whose(asked: SolveRequest) -> list[str]:
    """What may be sampled once: the session, and what is asked."""
    return [f"question:{question_digest(asked)}", *([f"session:{asked.session}"] if asked.session else [])]
