"""Scores a stage: runs the scoring pass over the prompt that the executor would answer, and applies the scorer of the
profile.

Beside it runs a measure of drift: how far recent requests lie from the questions that the scorer was trained on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from services.models.engine.api import PromptScorer
from services.models.generation.late_writes import CountedPasses
from services.shared.observability.metrics import MeasuredDrift
from services.shared.process.served_profiles import Reread, ServedProfiles
from services.shared.request_log.ledger import Pass
from services.shared.request_log.log import RequestLog
from services.sufficiency_scorer.artefact import TrainedScorer
from services.sufficiency_scorer.scorer_inputs import ScorerInputs
from services.sufficiency_scorer.scorers import Scorer
from tandem.method.errors import PROFILE_MISMATCH, FailedPrecondition, InvalidArgument
from tandem.method.profile.profile import Profile
from tandem.method.request.prompts import answer_prompt
from tandem.method.request.request import SolveRequest
from tandem.method.tokens import TokenCounts

_WINDOW = 200


@dataclass(frozen=True, slots=True)
class StageAssessment:
    """`score` in 0..1; `features` float32[16], empty without a scoring pass.

    `tokens` are those of this pass, `request_tokens` those of all passes of the request, as far as anybody knows.
    """

    score: float
    features: NDArray[np.float32]
    tokens: TokenCounts = field(default_factory=TokenCounts)
    request_tokens: TokenCounts = field(default_factory=TokenCounts)


class StageScorer:
    def __init__(self, engine: PromptScorer, log: RequestLog, profile: Profile, scorer: Scorer) -> None:
        self.profile, self.scorer = profile, scorer
        self.drift = DriftMonitor(scorer, first_stage=0 if profile.stop.stage_zero else 1)
        self._engine, self._log = engine, log
        self._passes = CountedPasses(log.ledger, Pass.SCORER)

    async def score_stage(self, request: SolveRequest, stage: int) -> StageAssessment:
        """Score what is asked with the insight that the request log holds up to `stage` (0: no insight).

        Raises FailedPrecondition if the log lacks the stage, Unavailable if it does not answer.
        """
        insight = await self._log.streams.insight(request.request_id, stage)
        assessment = await self.score(request, insight, stage)
        return replace(assessment, request_tokens=await self._passes.count(request.request_id, assessment.tokens))

    async def score(self, request: SolveRequest, insight: str, stage: int) -> StageAssessment:
        """Score what is asked with `insight`. A prefix that an earlier call for the request has prefilled comes from
        the cache.

        Raises InvalidArgument for a stage that the profile does not have.
        """
        if stage > len(self.profile.stages):
            raise InvalidArgument(f"stage {stage} of {len(self.profile.stages)}", field="stage")
        tokens = TokenCounts()
        if self.scorer.needs_pass:
            prompt = answer_prompt(self.profile, request, insight).encoded(self._engine.tokenizer)
            scores = await self._engine.score(request.request_id, prompt.ids)
            tokens = scores.usage
            inputs = ScorerInputs.of(scores, prompt, stage, request.question)
        else:
            inputs = ScorerInputs.without_pass(request.question, stage)
        self.drift.observe(inputs)
        return StageAssessment(self.scorer.score(inputs), inputs.features, tokens)


class DriftMonitor:
    """Mean z-scores over the first scored stage of the last 200 requests.

    Later stages are left out: only questions that did not stop before reach them, which would look like a shift.
    """

    def __init__(self, scorer: Scorer, first_stage: int) -> None:
        self._scorer, self._first_stage = scorer, first_stage
        self._window: deque[NDArray[np.float64]] = deque(maxlen=_WINDOW)

    def observe(self, inputs: ScorerInputs) -> None:
        if isinstance(self._scorer, TrainedScorer) and inputs.stage == self._first_stage:
            z_scores = self._scorer.z_scores(inputs)
            if z_scores is not None:
                self._window.append(z_scores)

    @property
    def monitored(self) -> tuple[str, ...]:
        """Names of the entries of `shift`; empty for an untrained scorer."""
        return self._scorer.monitored if isinstance(self._scorer, TrainedScorer) else ()

    @property
    def requests(self) -> int:
        return len(self._window)

    def shift(self) -> NDArray[np.float64]:
        """Mean z-score of each monitored input, signed, float64; empty before the first request."""
        return np.mean(self._window, axis=0) if self._window else np.zeros(0)


class StageScorers:
    """`make` creates a profile's scorer, or raises ValueError for one that cannot run here; `reread` as in
    ServedProfiles.

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
        """Return the scorer of a request's profile. Raises FailedPrecondition where the profile is not here, or its
        scorer cannot run here.
        """
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
