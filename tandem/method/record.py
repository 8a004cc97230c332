"""What a request has seen so far, and the result that is made of it. Pure: the workflow writes it down as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tandem.method.answer import final_answer
from tandem.method.cost import cost
from tandem.method.shared import (
    AheadOutcome,
    AnswerOutcome,
    InsightOutcome,
    Plan,
    RoleUsage,
    SolveInput,
    SolveResult,
    StageResult,
    StageScore,
    Stop,
    StopReason,
    Timings,
    Usage,
)
from tandem.method.stop_rule import thresholds


@dataclass(slots=True)
class Record:
    """`scored`: the scorer's tokens, computed and from its cache, as the request log knows them."""

    task: SolveInput
    started_at: datetime
    decided_at: datetime | None = None
    scores: list[StageScore] = field(default_factory=list)
    scored: tuple[int, int] = (0, 0)
    insight: InsightOutcome | None = None
    insight_usage: RoleUsage = field(default_factory=RoleUsage)
    answer_usage: RoleUsage = field(default_factory=RoleUsage)
    ahead: list[AheadOutcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        return self.task.plan

    def result(self, stop: Stop, answer: AnswerOutcome | None, now: datetime) -> SolveResult:
        usage = Usage(
            llm=replace(self.insight_usage, model=self.plan.llm),
            slm=self._slm_usage(),
            scorer=self._scorer_usage(),
        )
        attempts = {"large": self.insight.attempt if self.insight else 1, "small": answer.attempt if answer else 1}
        text = answer.text if answer else ""
        insight = self.insight.text if self.insight else ""
        if stop.reason is StopReason.LLM_FINISHED:
            text = insight
        return SolveResult(
            request_id=self.task.request_id,
            profile=self.plan.profile,
            question=self.task.question,
            answer=final_answer(text, self.plan.answer_format, answer.continued if answer else ""),
            reasoning=text,
            stop=stop,
            stages=self._stage_results(),
            usage=usage,
            cost=cost(self.plan, usage, self._prompt_tokens(usage), stop.reason is StopReason.LLM_FINISHED),
            timings_ms=self._timings(answer, now),
            trace_id=self.task.trace_id,
            attempts=max(attempts.values()),
            complete=answer.reason == "eos" if answer else self._has_finished(stop),
            notes=[*self.notes, *self._estimates(), *(_lost_note(m, n) for m, n in attempts.items() if n > 1)],
        )

    def _has_finished(self, stop: Stop) -> bool:
        is_whole = self.insight is not None and self.insight.reason == "eos"
        return stop.reason is StopReason.LLM_FINISHED and is_whole

    def _estimates(self) -> list[str]:
        is_estimated = self.insight is not None and self.insight.is_estimated
        return (
            ["the large model's tokens are an estimate: its API tells none of a stream that was cut"]
            if is_estimated
            else []
        )

    def _slm_usage(self) -> RoleUsage:
        """The answer, and what was read ahead of it."""
        computed, cached = _read(
            [(pass_.input_tokens, pass_.cached_input_tokens) for pass_ in self.ahead],
            [(pass_.request_input_tokens, pass_.request_cached_input_tokens) for pass_ in self.ahead],
        )
        return replace(
            self.answer_usage,
            model=self.plan.slm,
            input_tokens=self.answer_usage.input_tokens + computed,
            cached_input_tokens=self.answer_usage.cached_input_tokens + cached,
        )

    def _scorer_usage(self) -> RoleUsage:
        computed, cached = _read(
            [(s.tokens_scored, s.tokens_cached) for s in self.scores],
            [self.scored, *((s.request_scored, s.request_cached) for s in self.scores)],
        )
        return RoleUsage(model=self.plan.slm, input_tokens=computed, cached_input_tokens=cached)

    def _stage_results(self) -> list[StageResult]:
        limits = thresholds(self.plan)
        names = ["question", *(stage.name for stage in self.plan.stages)]
        return [
            StageResult(s.stage, names[s.stage], s.tokens, s.score, limits[s.stage], s.scorer, s.trained)
            for s in self.scores
            if not s.ended
        ]

    def _prompt_tokens(self, usage: Usage) -> int:
        """The plain question's prompt, as some model has read it; else the question itself."""
        if self.scores and self.scores[0].stage == 0 and self.scores[0].tokens_scored:
            return self.scores[0].tokens_scored + self.scores[0].tokens_cached
        return usage.llm.input_tokens or usage.slm.input_tokens or self.task.question_tokens

    def _timings(self, answer: AnswerOutcome | None, now: datetime) -> Timings:
        started = self.started_at.timestamp()
        decided = self.decided_at.timestamp() if self.decided_at else None
        first_insight = self.insight.first_token_at if self.insight else None
        first_answer = answer.first_token_at if answer else None
        return Timings(
            total=_ms(started, now.timestamp()) or 0.0,
            first_insight=_ms(started, first_insight),
            decision=_ms(started, decided),
            cancel=self.cancel_ms(self.insight) if self.insight else None,
            first_answer_token=_ms(decided, first_answer),
        )

    def cancel_ms(self, insight: InsightOutcome) -> float | None:
        """Decision to halt; None when the large model ended by itself."""
        if insight.reason != "aborted" or self.decided_at is None:
            return None
        return _ms(self.decided_at.timestamp(), insight.halted_at)


def _read(passes: Sequence[tuple[int, int]], logged: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Tokens (computed, cached) of every pass, also of one that was run twice because its first result was lost: the
    request log counts them. It may have been away, then what the passes told is more.
    """
    computed, cached = (max([sum(p[i] for p in passes), *(total[i] for total in logged)]) for i in (0, 1))
    return computed, cached


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start) * 1000)


def _lost_note(model: str, attempts: int) -> str:
    return (
        f"the {model} model was started {attempts} times; what a lost attempt made after its last write to the request "
        "log, one decode step as a rule, may be missing from the bill"
    )
