"""What is known of a running request, and the result that is derived from it. The workflow fills it in as it goes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce

from tandem.method.answer import final_answer, shown_text
from tandem.method.cost.bound import held_to
from tandem.method.cost.cost import cost
from tandem.method.evidence.checks import CheckResult, Trial
from tandem.method.request.job import Job
from tandem.method.request.plan import Plan
from tandem.method.request.result import SolveResult, StageResult, Stop, StopReason, Timings, Usage
from tandem.method.request.tasks import GenerationOutcome, StageScore
from tandem.method.roles import LLM, SCORER, SLM, title
from tandem.method.rule.stop_rule import thresholds
from tandem.method.tokens import TokenCounts
from tandem.method.usage import RoleStep, by_role, larger, total

# Alone the large model would have come to no more: such a limit would have ended its work as well, or it had failed.
_NOT_COMPARED = (StopReason.CANCELLED, StopReason.BUDGET, StopReason.LLM_UNAVAILABLE)

_CUT = "the bill is cut to what the request may cost: an API reports more tokens of its prompt than that pays for"


@dataclass(slots=True)
class RequestState:
    """`llm_counts` and `answer_counts` are separate from the outcomes: a role whose every attempt failed has counts and
    no outcome.

    `has_llm_answered`: the large model's text is its own answer, which the small one did not read. `plain_prompt` is
    the plain question's prompt, where the small model has answered from it. `trials` and `checks` are in order.
    `prefills` are by stage. `logged_scoring` and `logged_prefills` are what the request log knows of all such passes,
    where a pass's own result was lost.
    """

    input: Job
    started_at: datetime
    decided_at: datetime | None = None
    cancelled_at: datetime | None = None
    scores: list[StageScore] = field(default_factory=list)
    logged_scoring: TokenCounts = field(default_factory=TokenCounts)
    insight: GenerationOutcome | None = None
    llm_counts: TokenCounts = field(default_factory=TokenCounts)
    answer_counts: TokenCounts = field(default_factory=TokenCounts)
    prefills: dict[int, TokenCounts] = field(default_factory=dict)
    logged_prefills: TokenCounts = field(default_factory=TokenCounts)
    trials: list[Trial] = field(default_factory=list)
    checks: list[CheckResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    has_llm_answered: bool = False
    plain_prompt: TokenCounts | None = None

    @property
    def plan(self) -> Plan:
        return self.input.plan

    @property
    def is_cancelled(self) -> bool:
        return self.cancelled_at is not None

    @property
    def llm_text(self) -> str:
        return self.insight.text if self.insight else ""

    def note_late(self, role: str, outcome: GenerationOutcome) -> None:
        """A trial that was stopped took part in nothing, and is paid."""
        if outcome.late_after:
            self.notes.append(f"the {title(role)} model was stopped after {outcome.late_after:.0f} s: trial.patience")

    def note_lost_tokens(self, role: str, why: str) -> None:
        """The bill tells less than was used."""
        self.notes.append(f"the bill of the {role} is a lower bound: {why}")

    @property
    def llm_answer(self) -> TokenCounts | None:
        """What the large model's own answer took, where it has given one: that is what it costs alone."""
        insight = self.insight
        has_ended = self.plan.handoff == "continuation" and insight is not None and insight.reason == "eos"
        return insight.uninterrupted if insight and (has_ended or self.has_llm_answered) else None

    def result(self, stop: Stop, answer: GenerationOutcome | None, now: datetime) -> SolveResult:
        used = self._usage()
        usage = held_to(used, self.plan, self.input.most_usd)
        is_cut = usage != used
        llm_answer = self.llm_answer
        if is_cut and llm_answer:
            llm_answer = replace(llm_answer.reading(usage[LLM].read), is_estimated=True)
        attempts = {"large": self.insight.attempt if self.insight else 1, "small": answer.attempt if answer else 1}
        is_llms = answer is None and stop.reason in (StopReason.LLM_FINISHED, StopReason.UNVERIFIED_BEST)
        text = answer.text if answer else self.llm_text if is_llms else ""
        message = answer.message if answer else self.insight.message if is_llms and self.insight else None
        is_complete = self._is_complete(stop, answer)
        retried = (_retry_note(model, number) for model, number in attempts.items() if number > 1)
        as_answered = (text, self.plan.answer_format, _continued(answer))
        value = message.text if message else final_answer(*as_answered)
        shown = message.text if message else shown_text(*as_answered)
        return SolveResult(
            request_id=self.input.request_id,
            profile=self.plan.profile,
            question=self.input.request.last_said,
            answer=value,
            reasoning=text,
            stop=stop,
            stages=self._stage_results(),
            models={role: model.name for role, model in self.plan.models.items()},
            usage=usage,
            cost=cost(
                self.plan,
                usage,
                self._prompt_tokens(),
                llm_answer,
                is_read=not self.has_llm_answered,
                check_seconds=self._check_seconds,
                is_comparable=is_complete and stop.reason not in _NOT_COMPARED and not is_cut,
                read_by={trial.role: _insight_read(self, trial.role) for trial in self.trials},
                repeated=self.input.request.repeated_share,
            ),
            timings_ms=self._timings(answer, now),
            trace_id=self.input.trace_id,
            attempts=max(attempts.values()),
            complete=is_complete,
            notes=[*self.notes, *([_CUT] if is_cut else []), *self._estimates(usage), *retried],
            checks=self.checks,
            trials=self.trials,
            answered_by=answer.role if answer else "llm" if is_llms else "",
            tool_calls=list(message.calls) if message else [],
            policy_step=self.plan.watched.step if self.plan.watched else 0,
            answered_calls=self.input.request.answered_calls,
            text="" if shown == value else shown,
        )

    def cancel_ms(self, insight: GenerationOutcome) -> float | None:
        """From the decision to the end of the large model's computation; None when it ended by itself."""
        if insight.reason != "aborted" or self.decided_at is None:
            return None
        return _ms(self.decided_at.timestamp(), insight.finished_at)

    def _usage(self) -> Usage:
        used = by_role(self._by_step, self.plan.models)
        return {role: self._as_known(role, counts) for role, counts in used.items()}

    @property
    def _by_step(self) -> dict[RoleStep, TokenCounts]:
        """Passes are one step for each role that makes them: of one that ran twice only the log's total tells, and the
        sum of the passes' own counts is more where the log did not answer.
        """
        scored = total({score.stage: score.scored for score in self.scores})
        logged = reduce(larger, (score.all_scored for score in self.scores), self.logged_scoring)
        return {
            (LLM, "insight"): self.llm_counts,
            (SLM, "answer"): self.answer_counts,
            (SLM, "prefills"): larger(total(self.prefills), self.logged_prefills),
            (SCORER, "passes"): larger(scored, logged),
            **{(trial.role, f"trial {trial.number}"): trial.usage for trial in self.trials},
        }

    def _as_known(self, role: str, counts: TokenCounts) -> TokenCounts:
        """An attempt that was lost has no usage from its API: what it had written is known, what it had read is not."""
        is_guess = self.plan.models[role].is_api and counts.discarded > 0
        return replace(counts, is_estimated=counts.is_estimated or is_guess)

    def _is_complete(self, stop: Stop, answer: GenerationOutcome | None) -> bool:
        """The answer was not cut: its model ended it, or it passed its checks as it is."""
        if answer is not None:
            return answer.reason == "eos" or stop.reason is StopReason.VERIFIED
        is_llms = stop.reason in (StopReason.LLM_FINISHED, StopReason.UNVERIFIED_BEST)
        return is_llms and self.insight is not None and self.insight.reason == "eos"

    @property
    def _check_seconds(self) -> float:
        return sum(check.seconds for check in self.checks)

    def _estimates(self, usage: Usage) -> list[str]:
        unpriced = [
            f"{tokens} tokens that the {title(role)} model's vendor put into its cache are billed at the input's "
            "price: the profile has no price of cache writes ([prices], cache_write)"
            for role, counts in usage.items()
            if (tokens := self.plan.models[role].prices.unpriced_writes(counts))
        ]
        return unpriced + [
            f"the {title(role)} model's token counts are an estimate: its API reported none, as for a stream that "
            "was cut, or none that can be true"
            for role, counts in usage.items()
            if counts.is_estimated
        ]

    def _stage_results(self) -> list[StageResult]:
        limits = thresholds(self.plan)
        names = ["question", *(stage.name for stage in self.plan.stages)]
        return [
            StageResult(
                s.stage,
                names[s.stage],
                s.tokens,
                s.score,
                limits[s.stage],
                s.scorer,
                s.trained,
            )
            for s in self.scores
            if not s.ended
        ]

    def _prompt_tokens(self) -> int:
        """The plain question's prompt, once, as some model has read it, computed or cached; else the question
        itself.
        """
        llm = self.insight.uninterrupted if self.insight else TokenCounts()
        own = llm if self.plan.handoff == "continuation" else TokenCounts()
        scored = [score.scored for score in self.scores if score.stage == 0]
        candidates = [own, *scored, self.plain_prompt or TokenCounts(), llm]
        return next((counts.read for counts in candidates if counts.read), self.input.question_tokens)

    def _timings(self, answer: GenerationOutcome | None, now: datetime) -> Timings:
        started = self.started_at.timestamp()
        decided = self.decided_at.timestamp() if self.decided_at else None
        return Timings(
            total=_ms(started, now.timestamp()) or 0.0,
            first_insight=_ms(started, self.insight.first_token_at if self.insight else None),
            decision=_ms(started, decided),
            cancel=self.cancel_ms(self.insight) if self.insight else None,
            first_answer_token=_after(decided, answer.first_token_at if answer else None),
        )


def _insight_read(state: RequestState, role: str) -> int:
    """Tokens of the insight that a small model's trials have read: of the last stage that it tried."""
    last = max((trial.stage for trial in state.trials if trial.role == role), default=0)
    return min(state.plan.stages[last - 1].max_tokens, state.llm_counts.completion) if last else 0


def _continued(answer: GenerationOutcome | None) -> str:
    return answer.continued_from if answer else ""


def _after(decided: float | None, first: float | None) -> float | None:
    """None where the answer was there before the decision, as that of a trial is."""
    return _ms(decided, first) if decided is not None and first is not None and first >= decided else None


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, (end - start) * 1000)


def _retry_note(model: str, attempts: int) -> str:
    return (
        f"the {model} model was started {attempts} times: it was waited for, or lost; tokens that a lost attempt "
        "generated after its last write to the request log, four at most, may be missing from the bill"
    )
