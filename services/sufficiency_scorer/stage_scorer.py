"""Scores a stage: runs the scoring pass over the prompt that the executor would answer, and applies the scorer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from services.engine.api import Engine
from services.generation.late_writes import CountedPasses
from services.request_log.ledger import Pass
from services.request_log.log import RequestLog
from services.sufficiency_scorer.drift import DriftMonitor
from services.sufficiency_scorer.scorer_inputs import ScorerInputs
from services.sufficiency_scorer.scorers import Scorer
from tandem.method.conversation import Message, Task
from tandem.method.errors import InvalidArgument
from tandem.method.profile import Profile
from tandem.method.prompts import answer_prompt
from tandem.method.tokens import TokenCounts


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
    def __init__(self, engine: Engine, log: RequestLog, profile: Profile, scorer: Scorer) -> None:
        self.profile, self.scorer = profile, scorer
        self.drift = DriftMonitor(scorer, first_stage=0 if profile.stop.stage_zero else 1)
        self._engine, self._log = engine, log
        self._passes = CountedPasses(log.ledger, Pass.SCORER)

    async def score_stage(
        self,
        request_id: str,
        stage: int,
        question: str,
        task: Task = "answer",
        json_schema: str = "",
        history: Sequence[Message] = (),
    ) -> StageAssessment:
        """Score `question` with the insight that the request log holds up to `stage` (0: no insight).

        Raises FailedPrecondition if the log lacks the stage, Unavailable if it does not answer.
        """
        insight = await self._log.streams.insight(request_id, stage)
        assessment = await self.score(request_id, question, insight, stage, task, json_schema, history)
        return replace(assessment, request_tokens=await self._passes.count(request_id, assessment.tokens))

    async def score(
        self,
        key: str,
        question: str,
        insight: str,
        stage: int,
        task: Task = "answer",
        json_schema: str = "",
        history: Sequence[Message] = (),
    ) -> StageAssessment:
        """Score `question` with `insight`. A prefix that an earlier call with `key` has prefilled comes from the cache.

        Raises InvalidArgument for a stage that the profile does not have.
        """
        if stage > len(self.profile.stages):
            raise InvalidArgument(f"stage {stage} of {len(self.profile.stages)}", field="stage")
        tokens = TokenCounts()
        if self.scorer.needs_pass:
            tokenizer = self._engine.tokenizer
            prompt = answer_prompt(self.profile, tokenizer, question, insight, task, json_schema, history)
            scores = await self._engine.score(key, prompt.ids)
            tokens = scores.usage
            inputs = ScorerInputs.of(scores, prompt, stage, question)
        else:
            inputs = ScorerInputs.without_pass(question, stage)
        self.drift.observe(inputs)
        return StageAssessment(self.scorer.score(inputs), inputs.features, tokens)
