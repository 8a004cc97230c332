"""What became of requests: outcomes that their callers report, and what they say of promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import get_args

from services.gateway.policies import Policies
from services.gateway.states import States
from services.gateway.temporal import AdmittedRequest, Status, Workflows
from services.shared.identity.caller import Caller
from services.shared.observability.outcome_metrics import count_outcome
from services.shared.request_log.promises import Change, Counted, Counting, Kept, PolicyOf, Promises, Report
from tandem.method.conversation import Kind
from tandem.method.errors import FailedPrecondition, InvalidArgument
from tandem.method.profile.profile import Profile
from tandem.method.profile.watched_promise import Standing, Watched, lost_between, standing
from tandem.method.request.result import StopReason
from tandem.v1 import tandem_pb2

_CONFIDENCE = 0.95
"""Of the bounds that are shown where no promise names one."""
KINDS: tuple[Kind, ...] = get_args(Kind)
_STANDINGS = {
    Standing.OPEN: tandem_pb2.STANDING_UNSPECIFIED,
    Standing.KEPT: tandem_pb2.STANDING_KEPT,
    Standing.BROKEN: tandem_pb2.STANDING_BROKEN,
}


class Outcomes:
    """`keep_days(tenant)`: as in Policies."""

    def __init__(
        self,
        profiles: Mapping[str, Profile],
        policies: Policies,
        promises: Promises,
        workflows: Workflows,
        states: States,
        keep_days: Callable[[str], int],
        clock: Callable[[], datetime],
    ) -> None:
        self._profiles, self._policies, self._promises = profiles, policies, promises
        self._workflows, self._states, self._keep_days, self._clock = workflows, states, keep_days, clock

    async def report(
        self, request: tandem_pb2.ReportOutcomeRequest, request_id: str, status: Status
    ) -> tandem_pb2.ReportOutcomeResponse:
        """Count what the caller says, once. Raises InvalidArgument, FailedPrecondition, Unavailable."""
        right = _right(request)
        served = await self._workflows.join(request_id)
        loss, score, is_shadowed = await self._loss(request_id, status, right)
        policy = PolicyOf(served.tenant, served.profile, *((w.kind, w.made) if (w := served.watched) else ("own", "")))
        # A promise is about what the large model would have said: without that word of it this one is a label.
        is_label = bool(served.watched and served.watched.made) and not is_shadowed
        said = Report(request_id, "caller", loss, f"{right:g}", score, is_label)
        counting, counted = await self._promises.count(policy, served.watched, said, self._clock())
        if counting is Counting.OTHER:
            raise FailedPrecondition("another outcome of this request was reported", reason="OUTCOME_REPORTED")
        count_outcome(served.profile, policy.kind, said.who, counting)
        reply = tandem_pb2.ReportOutcomeResponse(request_id=request.request_id, counting=counting)
        if served.watched:
            reply.policy.CopyFrom(self._standing(policy, self._now(served, counted), counted, []))
        return reply

    async def standings(self, caller: Caller, tenant: str, *, with_outcomes: bool) -> list[tandem_pb2.PolicyStanding]:
        """Return the standing of every policy with outcomes or a promise."""
        whose = caller.tenant_of(tenant)
        found = await asyncio.gather(
            *(self._seen(whose, name, kind, with_outcomes) for name in self._profiles for kind in KINDS)
        )
        return [each for each in found if each]

    async def _seen(self, tenant: str, name: str, kind: Kind, with_outcomes: bool) -> tandem_pb2.PolicyStanding | None:
        watched = self._policies.of(name, kind)
        policy = PolicyOf(tenant, name, kind, watched.made)
        counted, changes = await self._promises.standing(policy)
        if not (counted.outcomes or counted.step or watched.made):
            return None
        if watched.made:
            watched = self._policies.at(watched, name, counted.step)
        found = self._standing(policy, watched, counted, changes)
        days = self._keep_days(tenant)
        if with_outcomes and days:
            kept = await self._promises.kept(policy, self._clock() - timedelta(days=days))
            found.kept.extend(map(_kept, kept))
        return found

    def _now(self, served: AdmittedRequest, counted: Counted) -> Watched:
        """Return the policy that is served since, of the promise that the request was under."""
        assert served.watched
        is_same = served.profile in self._profiles and counted.step != served.watched.step and served.watched.made
        return self._policies.at(served.watched, served.profile, counted.step) if is_same else served.watched

    async def _loss(self, request_id: str, status: Status, right: float) -> tuple[float, float | None, bool]:
        """Return what the served answer lost; the score of the stage that it came from; and whether the large model
        has answered, too.
        """
        result = status.result
        if status.state == "running":
            raise FailedPrecondition("the request still runs", reason="REQUEST_RUNS")
        if result is None or not result.answered_by or result.stop.reason is StopReason.CANCELLED:
            raise FailedPrecondition("the request has no answer", reason="NO_ANSWER")
        shadow = await self._states.shadow(request_id, status)
        is_same = result.answered_by == "llm" or (shadow is not None and shadow.lost == 0)
        return 0.0 if is_same else 1 - right, result.stop.score, shadow is not None

    def _standing(
        self, policy: PolicyOf, watched: Watched, counted: Counted, changes: list[Change]
    ) -> tandem_pb2.PolicyStanding:
        confidence = watched.confidence or _CONFIDENCE
        low, high = lost_between(counted.lost, counted.outcomes, confidence)
        return tandem_pb2.PolicyStanding(
            tenant=policy.tenant,
            profile=policy.profile,
            task=policy.kind,
            evidence=watched.evidence,
            step=counted.step,
            outcomes=counted.outcomes,
            lost=counted.lost,
            lost_at_least=low,
            lost_at_most=high,
            confidence=confidence,
            promised=watched.lose_at_most if watched.made else None,
            standing=_STANDINGS[standing(watched, counted.lost, counted.outcomes) if watched.made else Standing.OPEN],
            changes=map(_change, changes),
        )


def _right(request: tandem_pb2.ReportOutcomeRequest) -> float:
    which = request.WhichOneof("outcome")
    if which is None:
        raise InvalidArgument("say whether the answer was right, or its score", field="outcome")
    if which == "right":
        return float(request.right)
    if not 0 <= request.score <= 1:
        raise InvalidArgument(f"a score lies in 0..1, not {request.score}", field="score")
    return request.score


def _change(change: Change) -> tandem_pb2.PolicyChange:
    at = change.at.timestamp() * 1000
    return tandem_pb2.PolicyChange(step=change.step, outcomes=change.outcomes, lost=change.lost, at_unix_ms=at)


def _kept(kept: Kept) -> tandem_pb2.KeptOutcome:
    return tandem_pb2.KeptOutcome(
        lost=kept.loss,
        told_by=kept.who,
        step=kept.step,
        strength=kept.strength,
        score=kept.score,
        at_unix_ms=kept.at.timestamp() * 1000,
    )
