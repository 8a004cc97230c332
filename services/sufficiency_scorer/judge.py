"""The judge: reads the prompt that the executor would answer from, and scores it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.engine.api import Engine
from services.request_log.log import Reading, RequestLog
from services.sufficiency_scorer.drift import Drift
from services.sufficiency_scorer.evidence import Evidence
from services.sufficiency_scorer.scorers import Scorer
from tandem.method.errors import InvalidArgument, Unavailable
from tandem.method.profile import Profile
from tandem.method.prompts import Task, answer_prompt


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` in 0..1; `features` float32[16]; tokens that were run, and read out of the cache.

    `request_scored` and `request_cached` are those of every pass for the same request; 0 where no log counts them.
    """

    score: float
    features: NDArray[np.float32]
    tokens_scored: int
    tokens_cached: int
    request_scored: int = 0
    request_cached: int = 0


class Judge:
    def __init__(self, engine: Engine, log: RequestLog, profile: Profile, scorer: Scorer) -> None:
        self._engine, self._log, self._profile, self.scorer = engine, log, profile, scorer
        self.drift = Drift(scorer, first_stage=0 if profile.stop.stage_zero else 1)

    async def judge_stage(self, request_id: str, stage: int, question: str, task: Task = "answer") -> Judgement:
        """Score `question` with the insight that the request log holds up to `stage` (0: none).

        Raises FailedPrecondition when the log has no such stage, Unavailable when it does not answer.
        """
        insight = await self._log.insight(request_id, stage)
        judgement = await self.judge(request_id, question, insight, stage, task)
        with suppress(Unavailable):
            scored, cached = await self._log.count_read(
                request_id, Reading.SCORER, judgement.tokens_scored, judgement.tokens_cached
            )
            return replace(judgement, request_scored=scored, request_cached=cached)
        return judgement

    async def judge(self, key: str, question: str, insight: str, stage: int, task: Task = "answer") -> Judgement:
        """Score a text; what an earlier call with `key` has read of the same prefix is not read again.

        Raises InvalidArgument for a stage that the profile does not have.
        """
        if stage > len(self._profile.stages):
            raise InvalidArgument(f"stage {stage} of {len(self._profile.stages)}", field="stage")
        if not self.scorer.needs_pass:
            unread = Evidence.unread(question, stage)
            self.drift.see(unread)
            return Judgement(self.scorer.score(unread), unread.features, tokens_scored=0, tokens_cached=0)
        prompt = answer_prompt(self._profile, self._engine.tokenizer, question, insight, task)
        scoring = await self._engine.score(key, prompt.ids)
        evidence = Evidence.of(scoring, prompt, stage, question)
        self.drift.see(evidence)
        return Judgement(
            score=self.scorer.score(evidence),
            features=evidence.features,
            tokens_scored=scoring.usage.prompt,
            tokens_cached=scoring.usage.cached,
        )
