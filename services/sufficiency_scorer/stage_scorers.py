"""The scorers of the profiles that one process serves."""

from __future__ import annotations

from collections.abc import Callable

from services.observability.metrics import MeasuredDrift
from services.process.served_profiles import Reread, ServedProfiles
from services.sufficiency_scorer.stage_scorer import StageScorer
from tandem.method.errors import PROFILE_MISMATCH, FailedPrecondition
from tandem.method.profile import Profile


class StageScorers:
    """`make` creates a profile's scorer, or raises ValueError for one that cannot run here; `reread` as in ServedProfiles.

    `drifts`: by profile's name, of the scorer that came last.
    """

    def __init__(
        self, *profiles: Profile, make: Callable[[Profile], StageScorer], reread: Reread | None = None
    ) -> None:
        self._profiles, self._make = ServedProfiles(*profiles, reread=reread), make
        self._by_digest: dict[str, StageScorer] = {}
        self.drifts: dict[str, MeasuredDrift] = {}
        for profile in profiles:
            self._add(profile)

    async def of(self, digest: str) -> StageScorer:
        """The scorer of a request's profile. Raises FailedPrecondition where the profile is not here, or its scorer cannot run here."""
        profile = await self._profiles.of(digest)
        try:
            return self._by_digest.get(profile.digest) or self._add(profile)
        except ValueError as error:
            raise FailedPrecondition(str(error), reason=PROFILE_MISMATCH) from error

    def _add(self, profile: Profile) -> StageScorer:
        if profile.digest not in self._by_digest:
            self._by_digest[profile.digest] = self._make(profile)
        scorer = self._by_digest[profile.digest]
        self.drifts[profile.name] = scorer.drift
        return scorer
