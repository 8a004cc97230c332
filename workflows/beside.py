"""Of a request that was sampled, the models that have not answered it are asked; they answer nobody. What all models
say tells what each rule of a promise would have saved, and lost (docs/promise.md).

It runs after the request, under an id and a trace of its own, and has the lowest priority in the large model's queue.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from services.shared.process.search_attributes import outcome
    from tandem.method.answer import final_answer
    from tandem.method.evidence.checks import EXAMPLES, PROGRAMS_AGREE, CheckSpec, TrialPlan, Verdict
    from tandem.method.evidence.doubt import doubt
    from tandem.method.evidence.same_answer import Answer, same
    from tandem.method.names import BESIDE_WORKFLOW, sampled_id
    from tandem.method.promise.arms import LearnedKind
    from tandem.method.request.beside import Answers, BesideInput, BesideResult, Dispute
    from tandem.method.request.learning import Seen
    from tandem.method.request.result import StopReason
    from tandem.method.request.tasks import AgreementOutcome, GenerationOutcome
    from tandem.method.roles import LLM
    from tandem.method.timeouts import Timeouts
    from tandem.method.tools import as_lines
    from workflows.activities.agreement import AgreementActivities, answer_of, calls_of, compared_as
    from workflows.activities.jobs import remember
    from workflows.activities.learning import LearningActivities
    from workflows.activities.models import InsightActivities
    from workflows.shadow import verdict_of, write_last

_RETRY = RetryPolicy(maximum_attempts=3)
_EXAMPLES = CheckSpec(EXAMPLES, "weight=1")


@workflow.defn(name=BESIDE_WORKFLOW)
class BesideWorkflow:
    @workflow.init
    def __init__(self, task: BesideInput) -> None:
        self._task, self._job = task, task.job
        self._compared = compared_as(task.job.request)
        self._said: dict[str, GenerationOutcome] = dict(task.known)
        self._paid: dict[str, float] = {}

    @workflow.run
    async def run(self, task: BesideInput) -> BesideResult:
        remember(workflow.info().run_id, task.job)
        await asyncio.gather(self._ask_small(), self._ask_large())
        result = await self._count()
        if task.job.is_searchable:
            workflow.upsert_search_attributes(outcome(result.usd_paid, None, 0, StopReason.LLM_FINISHED))
        return result

    async def _ask_small(self) -> None:
        """Those that the request has no whole answer of. Each writes to its end."""
        steps = [step for step in self._task.steps if step.role not in self._said]
        if not steps:
            return
        trial = TrialPlan([0], order=[step.role for step in steps])
        found: AgreementOutcome = await workflow.execute_activity_method(
            AgreementActivities.agree,
            args=[steps, trial],
            start_to_close_timeout=Timeouts.attempt,
            heartbeat_timeout=Timeouts.heartbeat,
            retry_policy=_RETRY,
        )
        for step, asked in zip(steps, found.asked, strict=True):
            counts = asked.outcome.counts if asked.outcome else asked.reported
            self._paid[step.role] = step.prices.usd(counts) or 0.0
            if asked.outcome:
                self._said[step.role] = asked.outcome

    async def _ask_large(self) -> None:
        if LLM in self._said:
            return
        plan = self._job.plan
        step = self._job.step(LLM, max_tokens=(plan.answer_max_tokens,))
        step = replace(step, request_id=sampled_id(self._job.request_id), is_alone=True)
        try:
            alone = await write_last(InsightActivities.generate_insight, step)
        except ActivityError:
            return
        self._said[LLM] = alone
        self._paid[LLM] = plan.llm.prices.usd(alone.counts) or 0.0

    async def _count(self) -> BesideResult:
        usd, kind = sum(self._paid.values()), self._kind
        large = self._whole(LLM)
        if large is None:
            why = "the large model gave no whole answer"
            result = BesideResult(kind, usd, is_counted=False, why=why)
            await self._locally(LearningActivities.count_uncounted, result)
            return result
        seen, dispute = self._seen(await self._answers(large), kind, usd)
        is_counted = await self._locally(LearningActivities.count_sampled, seen, usd, dispute)
        return BesideResult(kind, usd, is_counted, "" if is_counted else "the kind has begun anew")

    async def _locally(self, activity: object, *arguments: object) -> bool:
        """It is tried for as long as the workflow may last: a request counts once, whenever Redis answers again."""
        done: bool = await workflow.execute_local_activity_method(  # type: ignore[call-overload]
            activity, args=arguments, start_to_close_timeout=Timeouts.local_attempt
        )
        return done

    @property
    def _kind(self) -> LearnedKind:
        """Where tools are offered the first small model tells it."""
        kind = self._job.request.kind
        if kind == "tools":
            first = self._whole(self._task.steps[0].role)
            return "tools" if first is None or calls_of(first) else "no_call"
        assert kind != "chat", "nothing is learned of free text"
        return kind

    def _whole(self, role: str) -> GenerationOutcome | None:
        found = self._said.get(role)
        return found if found and found.reason == "eos" else None

    async def _answers(self, large: GenerationOutcome) -> Answers:
        """What is compared of all models' answers."""
        roles = [step.role for step in self._task.steps]
        whole = [self._whole(role) for role in roles]
        usd = [self._usd(role, each) if each else 0.0 for role, each in zip(roles, whole, strict=True)]
        large_usd = self._usd(LLM, large)
        if self._job.request.kind == "code":
            learning = self._job.plan.learning
            passed, differs = await self._run_programs([each.text if each else "" for each in whole], large.text)
            return Answers(passed, int.__eq__, differs, usd, large_usd, learning.strength if learning else 0)
        answers = [self._answer(each) if each else "" for each in whole]
        of_large = self._answer(large)
        return Answers(
            [each is not None and self._is_usable(each) for each in whole],
            lambda one, other: self._same(answers[one], answers[other]),
            [not self._same(each, of_large) for each in answers],
            usd,
            large_usd,
        )

    def _usd(self, role: str, outcome: GenerationOutcome) -> float:
        """What the answer costs without the work of lost attempts; nothing where the price is not known."""
        return self._job.plan.models[role].prices.usd(outcome.uninterrupted) or 0.0

    def _answer(self, outcome: GenerationOutcome) -> Answer:
        return answer_of(self._compared, outcome, self._job.plan.answer_format)

    def _same(self, one: Answer, other: Answer) -> bool:
        return same(self._compared, one, other) is True

    def _is_usable(self, outcome: GenerationOutcome) -> bool:
        """As where it is served: nothing speaks against it, and it is of the kind that the first model tells."""
        if self._compared.form != "calls":
            return True
        first, calls = self._whole(self._task.steps[0].role), calls_of(outcome)
        is_of_kind = first is not None and bool(calls_of(first)) == bool(calls)
        return is_of_kind and not doubt(calls, self._job.request.history, outcome.text, self._compared.tools)

    async def _run_programs(self, texts: list[str], of_large: str) -> tuple[list[bool], list[bool]]:
        """Which programs pass the prompt's examples, and which of these compute something else than the large model's,
        where that passes them too.
        """
        small, large = [final_answer(text, "code") for text in texts], final_answer(of_large, "code")
        passed = [bool(text) and await self._verdict(text, _EXAMPLES) is Verdict.PASS for text in small]
        if not any(passed) or await self._verdict(large, _EXAMPLES) is Verdict.FAIL:
            return passed, [False] * len(small)
        other = CheckSpec(PROGRAMS_AGREE, large)
        differs = [
            is_passed and await self._verdict(text, other) is not Verdict.PASS
            for text, is_passed in zip(small, passed, strict=True)
        ]
        return passed, differs

    async def _verdict(self, answer: str, check: CheckSpec) -> Verdict:
        return await verdict_of(self._job, sampled_id(self._job.request_id), answer, [check])

    def _seen(self, answers: Answers, kind: LearnedKind, usd: float) -> tuple[Seen, Dispute | None]:
        """What each arm would have done, and the texts of a dispute: arms take the same answer where they take one."""
        learning = self._job.plan.learning
        assert learning is not None, "a request is sampled where a promise learns"
        arms = learning.arms(kind)
        found = tuple(answers.seen_by(arm) for arm in arms)
        answered = next((number for number, arm in enumerate(arms) if arm.name == learning.serving(kind)), -1)
        disputed = (arm for arm, each in zip(arms, found, strict=True) if each.disputed)
        place = next((arm.taken(answers.usable, answers.same) for arm in disputed), None)
        dispute = None if place is None else self._dispute(self._task.steps[place].role)
        return Seen(kind, answers.large, usd, answered, found), dispute

    def _dispute(self, role: str) -> Dispute:
        large, small = self._said[LLM], self._said[role]
        texts = [as_lines(calls_of(each)) or each.text for each in (large, small)]
        return Dispute(self._job.request.last_said, *texts)
