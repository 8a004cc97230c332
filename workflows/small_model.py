"""The small model of one request: prefill ahead while the large one goes on, and the answer."""

from __future__ import annotations

from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.evidence.checks import TrialPlan
    from tandem.method.request.job import Step
    from tandem.method.request.tasks import Ahead, GenerationOutcome, LoggedPrefills, StageScore
    from tandem.method.timeouts import Timeouts
    from tandem.method.tokens import TokenCounts
    from tandem.method.usage import larger, merged
    from workflows.activities.attempts import unavailable_retry_policy
    from workflows.activities.models import AnswerActivities
    from workflows.calls import FALLBACK_EPOCH, NO_LOG, TRIAL_EPOCHS, ActivityCalls, cause_of
    from workflows.request_state import RequestState


class SmallModel:
    """`step` is the answer's, for any stage."""

    def __init__(self, state: RequestState, calls: ActivityCalls, step: Step) -> None:
        self._state, self._calls, self._step = state, calls, step
        self._ahead: Ahead | None = None
        self._missed: dict[int, bool] = {}  # stages whose prefill returned nothing, and whether it may not have begun
        self._reading: list[int] = []  # those of them that ran on

    def prefill_ahead(self, stage: int) -> None:
        """While the large model goes on, prefill the prompt that an answer would begin with: whoever waits for another
        stage does.
        """
        self._ahead = Ahead(stage, self._step.prices)

    def take_prefill(self) -> Ahead | None:
        """What to prefill now."""
        ahead, self._ahead = self._ahead, None
        return ahead

    def record_prefill(self, ahead: Ahead | None, score: StageScore) -> None:
        """It is paid for, used or not. The log gets the counts of one that still runs."""
        if ahead is None:
            return
        if score.ahead is not None:
            self._state.prefills[ahead.stage] = score.ahead
            self._state.logged_prefills = larger(self._state.logged_prefills, score.all_ahead)
            return
        self.record_missing_prefill(ahead, may_be_unread=False)
        if score.is_reading:
            self._reading.append(ahead.stage)

    def record_missing_prefill(self, ahead: Ahead | None, *, may_be_unread: bool) -> None:
        """Only the log has its counts, and none where no worker had begun it."""
        if ahead is not None:
            self._missed[ahead.stage] = may_be_unread

    async def answer(self, stage: int) -> GenerationOutcome | None:
        """Answer from `stage`; if its insight cannot be read any more, from the bare question. None when cancelled
        before it began.

        Raises ActivityError when no attempt gave an answer; its counts are in the state by then.
        """
        try:
            answer = await self._execute(stage, 0, TokenCounts())
        except ActivityError as error:
            self._state.answer_counts = await self._calls.lost_usage(error, "slm", self._text_number)
            if is_cancelled_exception(error):
                return None
            if stage == 0:
                raise
            answer = await self._answer_without_insight(error)
        if not answer.is_logged:
            self._state.notes.append(f"the answer was not streamed: {NO_LOG}")
        if answer.reason == "aborted" and not self._state.is_cancelled:
            self._state.notes.append("the answer was cut: the small model was aborted, and not by this request")
        self._state.answer_counts = answer.counts
        return answer

    async def collect_prefills(self) -> None:
        """Prefills are paid for, used or not. Where a result is missing, the request log has the counts."""
        if not self._missed:
            return
        logged: LoggedPrefills | None = await self._calls.locally(
            AnswerActivities.all_prefill_passes,
            self._state.input.request_id,
            self._reading,
            timeout=Timeouts.prefill_end + Timeouts.local_attempt,
        )
        found = logged.by_stage if logged else {}
        self._state.prefills = merged(self._state.prefills, found)
        lost = self._missed.keys() - found.keys()
        if lost and (logged is None or not logged.is_whole):
            self._state.note_lost_tokens("slm", NO_LOG)
        elif any(not self._missed[stage] for stage in lost):
            self._state.note_lost_tokens("slm", "a prefill did not tell its tokens")

    def trial_step(self, role: str, stage: int, number: int, trial: TrialPlan | None = None) -> Step:
        """Of trial `number` by the model of `role`; `trial`: of another plan than the request's own."""
        model, trial = self._state.plan.models[role], trial or self._state.plan.trial
        step = replace(self._trial_step(stage, number, 0), role=role, prices=model.prices)
        cap, limit = min(trial.max_tokens, *step.max_tokens), trial.limit
        if limit and model.rates:
            limit = replace(limit, expected=model.rates.seconds(self._state.input.question_tokens, 0, cap))
        return replace(step, max_tokens=(cap,), limit=limit)

    async def _answer_without_insight(self, error: ActivityError) -> GenerationOutcome:
        self._state.notes.append(f"the answer does without the insight: {cause_of(error)}")
        lost = self._state.answer_counts
        try:
            return await self._execute(0, FALLBACK_EPOCH, lost)
        except ActivityError as second:
            found = await self._calls.lost_usage(second, "slm", self._text_number)
            self._state.answer_counts = larger(lost, found)
            raise

    async def _execute(self, stage: int, base_epoch: int, used_before: TokenCounts) -> GenerationOutcome:
        step = replace(self._trial_step(stage, self._text_number, base_epoch), used_before=used_before)
        policy = unavailable_retry_policy(self._state.plan.unavailable_timeout_seconds)
        outcome: GenerationOutcome = await self._calls.start(AnswerActivities.execute, step, retry_policy=policy)
        self.see_prompt(step, outcome)
        return outcome

    @property
    def _text_number(self) -> int:
        """The answer begins a new text after earlier trials."""
        return len(self._state.trials) + 1 if self._state.trials else 0

    def see_prompt(self, step: Step, outcome: GenerationOutcome) -> None:
        """The plain question's prompt, where the step has read it. The second model's counts where no other is known:
        each model's tokenizer has its own.
        """
        is_better = step.role == "slm" or self._state.plain_prompt is None
        if step.stage == 0 and step.repair is None and outcome.prompt and is_better:
            self._state.plain_prompt = outcome.prompt

    def _trial_step(self, stage: int, number: int, base_epoch: int) -> Step:
        epoch = number * TRIAL_EPOCHS + base_epoch
        return replace(self._step, stage=stage, trial=number, epoch=epoch, max_tokens=(self._max_tokens(stage),))

    def _max_tokens(self, stage: int) -> int:
        """The answer's cap; an answer that has the insight as its beginning has no more with it."""
        [cap] = self._step.max_tokens
        if self._state.plan.answer_format != "whole" or stage == 0 or self._state.plan.handoff != "continuation":
            return cap
        written = [score.tokens for score in self._state.scores if score.stage == stage]
        return max(1, cap - (written[-1] if written else self._state.plan.stages[stage - 1].max_tokens))
