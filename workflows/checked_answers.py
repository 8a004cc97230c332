"""The answers of one request that were checked, the small models' and the large one's, and which of them is best."""

from __future__ import annotations

from dataclasses import dataclass, replace

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from tandem.method.answer import final_answer
    from tandem.method.conversation import Message
    from tandem.method.evidence.checks import AGREEMENT, CheckResult, CheckSpec, Verdict, combined, score
    from tandem.method.request.job import Step
    from tandem.method.request.result import Stop, StopReason
    from tandem.method.request.tasks import GenerationOutcome, ToCheck
    from tandem.method.timeouts import Timeouts
    from tandem.method.tools import calls_as_json
    from workflows.activities.checking import CheckingActivities
    from workflows.calls import ActivityCalls, cause_of
    from workflows.request_state import RequestState

_RETRY_CHECK = RetryPolicy(initial_interval=Timeouts.retry_interval, maximum_attempts=2)


@dataclass(frozen=True, slots=True)
class CheckedAnswer:
    """`outcome` is None for the large model's answer, whose outcome is the insight. `must_agree`: it passes by
    agreement alone.
    """

    stage: int
    answer: str
    results: list[CheckResult]
    outcome: GenerationOutcome | None = None
    must_agree: bool = False

    @property
    def verdict(self) -> Verdict:
        return combined(self.results, must_agree=self.must_agree)

    @property
    def score(self) -> float:
        return score(self.results)


class CheckedAnswers:
    def __init__(self, state: RequestState, calls: ActivityCalls) -> None:
        self._state, self._calls = state, calls
        self._of_slm: list[CheckedAnswer] = []
        self._of_llm: CheckedAnswer | None = None
        self._num_checked = 0

    @property
    def best(self) -> CheckedAnswer | None:
        """The small models' answer whose checks held most, the earlier of equals."""
        return max(self._of_slm, key=lambda made: (made.score, -self._of_slm.index(made)), default=None)

    def have_failed_at(self, stage: int) -> bool:
        return any(made.stage == stage and made.verdict is Verdict.FAIL for made in self._of_slm)

    def at(self, stop: Stop) -> GenerationOutcome | None:
        """A small model's answer at the stage of the stop, the one that passed, unless it was cut: an answer may be
        longer than a trial.
        """
        tried = [made for made in self._of_slm if made.stage == stop.stage]
        best = max(tried, key=lambda made: (made.verdict is Verdict.PASS, made.score), default=None)
        outcome = best.outcome if best else None
        is_usable = outcome is not None and (outcome.reason == "eos" or stop.reason is StopReason.VERIFIED)
        return outcome if is_usable else None

    def better_than_llm(self) -> GenerationOutcome | None:
        """The best trial, where the large model was not asked or fewer of its answer's checks held."""
        return better.outcome if (better := self._better) else None

    async def check_trial(self, outcome: GenerationOutcome, stage: int, number: int) -> CheckedAnswer:
        """The answer of trial `number` (from 1)."""
        answer = self._to_check(outcome.text, outcome.message, outcome.continued_from)
        results = await self._check(answer, stage, outcome.role, number)
        checked = CheckedAnswer(stage, answer, results, outcome, self.must_agree)
        self._of_slm.append(checked)
        return checked

    @property
    def must_agree(self) -> bool:
        """Programs of different small models have to compute the same."""
        return any(check.wants_other for check in self._state.input.checks)

    def other_program(self, role: str) -> str | None:
        """The newest of another small model that has failed no check."""
        found = [
            made.answer
            for made in self._of_slm
            if made.outcome and made.outcome.role != role and made.verdict is not Verdict.FAIL
        ]
        return found[-1] if found else None

    async def check_llm(self, text: str, message: Message | None = None) -> CheckedAnswer:
        """The large model's own answer, checked once; `message` where it may have called tools."""
        if self._of_llm is None:
            answer, stage = self._to_check(text, message), len(self._state.scores)
            self._of_llm = CheckedAnswer(stage, answer, await self._check(answer, stage, "llm", 0))
        return self._of_llm

    async def judge_llm(self, text: str, stage: int, message: Message | None = None) -> Stop:
        """The large model has answered; `stage` is the last one that it had written. Its answer is used, or a better
        trial where it fails its checks.
        """
        if (await self.check_llm(text, message)).verdict is not Verdict.FAIL:
            return Stop(stage, StopReason.LLM_FINISHED)
        return Stop(better.stage if (better := self._better) else stage, StopReason.UNVERIFIED_BEST)

    @property
    def _better(self) -> CheckedAnswer | None:
        best, of_llm = self.best, self._of_llm
        return best if best and (of_llm is None or best.score > of_llm.score) else None

    def _to_check(self, text: str, message: Message | None, continued_from: str = "") -> str:
        """Where tools may be called the calls, which are all that is checked."""
        if self._state.plan.may_call:
            return calls_as_json(message.calls if message else ())
        return final_answer(text, self._state.plan.answer_format, continued_from)

    async def _check(self, answer: str, stage: int, role: str, trial: int) -> list[CheckResult]:
        """A checker that fails lets the request go on as if there were no check."""
        checks = self._checks_of(role)
        if not checks:
            return []
        self._num_checked += 1
        last_scored = max((s.stage for s in self._state.scores), default=-1)
        earlier = [made.answer for made in self._of_slm]
        step = replace(self._state.input.step(role, stage=stage), trial=trial)
        return await self._results(step, ToCheck(answer, checks, self._num_checked, last_scored, earlier))

    def _checks_of(self, role: str) -> list[CheckSpec]:
        """Agreement is of small models: a program is compared with another model's, where there is one."""
        checks = [check for check in self._state.input.checks if role != "llm" or check.name != AGREEMENT]
        other = self.other_program(role) if role != "llm" else None
        compared = [check.beside(other) if check.wants_other and other else check for check in checks]
        return [check for check in compared if not check.wants_other]

    async def _results(self, step: Step, answer: ToCheck) -> list[CheckResult]:
        try:
            checking = self._calls.start(CheckingActivities.check, step, answer, retry_policy=_RETRY_CHECK)
            results: list[CheckResult] = await checking
        except ActivityError as error:
            if not is_cancelled_exception(error):
                self._state.notes.append(f"an answer of the {step.role} was not checked: {cause_of(error)}")
            return []
        self._state.checks += results
        return results
