"""`tandem calibrate --lose-at-most`: the cheapest policy that is shown to keep a promise, by task (docs/method.md, A
promise).

The candidates are the profile's policy with its evidence made stricter. Their order is fixed before any data is seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np

from lab.training.checking import CHECKED, agreement_check, check_runs, code_checks, is_checked
from lab.training.collect import Run
from lab.training.collected import Collected
from lab.training.datasets import Item, Task
from lab.training.errors import StoreError, TooFew
from lab.training.evaluate import scores_of
from lab.training.looks import Looks, at_look, at_next_look
from lab.training.metrics import Interval, difference_of_means, ratio_of_means
from lab.training.names import WORDS
from lab.training.outcomes import llm_alone
from lab.training.policy import Policy, Unit
from lab.training.promise import Promise, questions_needed, upper_bound
from lab.training.table import Floats, Table, make_table
from lab.training.trial_search import Order, orders
from services.sufficiency_scorer.artefact import Artefact
from tandem.method.evidence.checks import CheckSpec, Verdict
from tandem.method.profile.profile import Profile
from tandem.method.profile.promise import PromiseData, PromiseMade
from tandem.method.request.plan import make_plan
from tandem.method.rule.stop_rule import NEVER
from tandem.method.rule.strictness import stricter

_AT_ONCE = 2
_OPEN = Verdict.UNKNOWN.value, Verdict.ERROR.value

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Tested:
    """One policy. `cost` is relative to the large model alone, `difference` the accuracy less its accuracy, both with
    95 % intervals.
    """

    evidence: str
    lost: int
    bound: float
    is_accepted: bool
    difference: Interval
    cost: Interval


@dataclass(frozen=True)
class Shown:
    """What the questions of a task show. `tested` are the policies, by who tries, the strictest first, up to the first
    that was not accepted.

    `chosen`: the cheapest accepted one; None: there is none, and in the next look `needed` questions would show it for
    the strictest policy at the share that it lost here (None: no number would, since it lost as much as was promised or
    more). `served` is the profile with what was chosen. `look`: the bounds are those of this look.
    """

    task: Task
    promise: Promise
    n: int
    tested: list[Tested]
    chosen: Tested | None
    needed: int | None
    data: tuple[PromiseData, ...]
    served: Profile | None
    look: int = 1

    @cached_property
    def made(self) -> PromiseMade | None:
        """As the profile states it."""
        if self.chosen is None:
            return None
        return PromiseMade(
            task=self.task,
            lose_at_most=self.promise.lose_at_most,
            confidence=self.promise.confidence,
            bound=round(self.chosen.bound, 6),
            lost=self.chosen.lost,
            n=self.n,
            evidence=self.chosen.evidence,
            data=self.data,
        )

    def as_plain(self) -> dict[str, object]:
        """For a report."""
        return {
            "task": self.task,
            "promise": asdict(self.promise),
            "n": self.n,
            "look": self.look,
            "tested": [asdict(each) for each in self.tested],
            "chosen": asdict(self.chosen) if self.chosen else None,
            "questions_needed": self.needed,
            "data": [each.model_dump() for each in self.data],
        }


def show_promise(
    collected: Collected, profile: Profile, promise: Promise, unit: Unit, progress: Progress, looks: Looks | None = None
) -> list[Shown]:
    """One for each task that the questions are of. They must have chosen nothing else: neither scorer nor thresholds.
    Without `looks` no other look at this promise may have been taken, nor follow: the number of questions was fixed
    beforehand.

    Raises TooFew where no question is of a task for which the profile accepts answers of the small model, and
    StoreError where it lets a further one try of which too little was collected.
    """
    code = {run.question for run in collected.runs if run.name == "llm" and run.verdict}
    known = _different(collected.runs)
    found = []
    tasks: tuple[Task, ...] = ("answer", "code")
    for task in tasks:
        questions = {q for q in collected.table.questions if q in known and (q in code) == (task == "code")}
        if questions and any(True for _ in stricter(profile, task)):
            runs = [run for run in collected.runs if run.question in questions]
            table = collected.without(set(collected.table.questions) - questions).table
            if not table.has_insight and policy_of(profile, task).needs_insight:
                raise StoreError(
                    f"the files were collected with --only-question, and {profile.name} reads insights for {task}"
                )
            families = [list(stricter(each, task)) for each in _by_order(profile, task, table, unit)]
            found.append(_tested(_Questions(task, runs, profile, unit, progress), families, promise, collected, looks))
    if not found:
        raise TooFew(f"no question is of a task for which {profile.name} accepts answers of the small model")
    return found


def _different(runs: Sequence[Run]) -> set[str]:
    """The first of those that ask the same: a question that repeats shows nothing more."""
    first: dict[str, str] = {}
    for run in runs:
        if run.name == "llm":
            first.setdefault(run.asked or run.question, run.question)
    return set(first.values())


def policy_of(profile: Profile, task: Task) -> Policy:
    """What the profile serves."""
    kind, plan = profile.stop.scorer.partition(":")[0], make_plan(profile, task)
    thresholds = (plan.stage_zero_threshold, *(stage.threshold for stage in plan.stages))
    return Policy(
        thresholds if task in profile.stop.tasks else (NEVER,) * len(thresholds),
        plan.llm_finishes,
        "profile",
        kind,
        kind != WORDS,
        plan.trial,
        scores_code="code" in profile.stop.tasks,
        programs_agree=task == "code" and agreement_check(profile) is not None,
    )


def _by_order(profile: Profile, task: Task, table: Table, unit: Unit) -> list[Profile]:
    """The profile by which small models try, and by whether their programs must agree where it has a check of that."""
    if task != "code" or len(profile.small) == 1:
        return [profile]
    known = orders(table.take(table.is_checked), make_plan(profile, task), unit)
    unknown = [role for role in profile.trial_order if not any(role in order for order in known)]
    if len(known) > 1 and not unknown and profile.trial.stages == (0,) and not profile.trial.repairs:
        may_agree = (True, False) if agreement_check(profile) else (False,)
        return [
            _with_order(profile, order, agree) for order in known for agree in may_agree if len(order) > 1 or not agree
        ]
    if profile.trial_order == ("slm",):
        return [profile]
    names = " and ".join(profile.models[role].name for role in unknown or profile.small_roles[1:])
    raise StoreError(
        f"what {names} answers to these questions, or costs in {unit}, is not known: run `tandem collect` on "
        "the files again (trials at stage 0 without repairs are judged), or set trial.order = ['slm']"
    )


def _with_order(profile: Profile, order: Order, agree: bool) -> Profile:
    trial = profile.trial.model_copy(update={"order": order})
    code = tuple(spec for spec in profile.checks.code if agree or not CheckSpec.parse(spec).wants_other)
    checks = profile.checks.model_copy(update={"code": code})
    return profile.model_copy(update={"trial": trial, "checks": checks})


class _Questions:
    """The collected questions of one task, on which policies can be run, the strictest first.

    A table is made once for each strictness, the strictest first. What a program's examples have said stays: where they
    must count less, what passed or failed does so again.
    """

    def __init__(self, task: Task, runs: list[Run], profile: Profile, unit: Unit, progress: Progress) -> None:
        self.task, self.unit, self._stages = task, unit, {0, *profile.trial.stages}
        self._runs = [self._undecided(run) for run in runs]
        self._profile, self._progress = profile, progress
        self._tables: dict[tuple[CheckSpec, ...], Table] = {}
        self._items = {run.question: Item(run.question, run.asked, "", task) for run in runs if run.name == "llm"}

    def run(self, profile: Profile) -> tuple[Tested, int]:
        """What a policy loses and costs, not yet judged, and n."""
        described = profile.evidence(self.task)
        self._progress(described)
        table, plan = self._table(profile), make_plan(profile, self.task)
        outcome = policy_of(profile, self.task).run(table, plan, self._scores(table))
        alone = llm_alone(table, plan)
        lost = int((alone.right & ~outcome.right).sum())
        cost = ratio_of_means(getattr(outcome, self.unit), getattr(alone, self.unit))
        difference = difference_of_means(outcome.right, alone.right)
        return Tested(described, lost, 1.0, False, difference, cost), len(table.questions)

    @property
    def ids(self) -> list[str]:
        return list(self._items)

    def fingerprint(self, collected: Collected) -> tuple[PromiseData, ...]:
        """The files that they come from."""
        datasets = {question.partition("/")[0] for question in self._items}
        return tuple(
            PromiseData(
                dataset=source.dataset,
                questions=source.questions,
                file_sha256=source.file_sha256,
                questions_sha256=source.questions_sha256,
            )
            for source in collected.sources
            if source.dataset in datasets
        )

    def _table(self, profile: Profile) -> Table:
        checks = tuple(code_checks(profile))
        if checks not in self._tables:
            if self.task == "code":
                again = [self._undecided(run) if run.verdict in _OPEN else run for run in self._runs]
                self._runs = asyncio.run(check_runs(again, self._items, profile, _AT_ONCE))
            self._tables[checks] = make_table(self._runs, len(profile.stages), lambda run: is_checked(run, profile))
        return self._tables[checks]

    def _undecided(self, run: Run) -> Run:
        """Of a program that is checked: its examples are run by the next policy."""
        is_tried = self.task == "code" and run.name in CHECKED and (run.name != "slm" or run.stage in self._stages)
        return replace(run, verdict="", score=0.0, failure="", check_seconds=0.0) if is_tried else run

    def _scores(self, table: Table) -> Floats:
        if self.task not in self._profile.stop.tasks or not self._profile.stop.is_trained:
            return np.zeros(table.slm.right.shape)
        kind, _, folder = self._profile.stop.scorer.partition(":")
        return scores_of(Artefact.load(self._profile.folder / (folder or kind)), table)


def _tested(
    questions: _Questions,
    families: Sequence[Sequence[Profile]],
    promise: Promise,
    collected: Collected,
    looks: Looks | None,
) -> Shown:
    """Each family is tested until one of it fails. Several share the look's chance to be wrong, so that it holds for
    all.
    """
    policies = [profile.evidence(questions.task) for family in families for profile in family]
    of_each = replace(promise, confidence=1 - (1 - promise.confidence) / len(families))
    look = looks.number(questions.task, questions.ids, policies, of_each) if looks else 1
    each = at_look(of_each, look) if looks else of_each
    tested, accepted, n = list[Tested](), list[tuple[Tested, Profile]](), 0
    for family in families:
        for profile in family:
            found, n = questions.run(profile)
            bound = upper_bound(found.lost, n, each.confidence)
            found = replace(found, bound=bound, is_accepted=bound <= promise.lose_at_most)
            tested.append(found)
            if not found.is_accepted:
                break
            accepted.append((found, profile))
    chosen, served = min(accepted, key=lambda pair: pair[0].cost.mean, default=(None, None))
    next_time = at_next_look(of_each, look, n) if looks else of_each
    needed = None if accepted else questions_needed(next_time, tested[0].lost / n)
    return Shown(questions.task, promise, n, tested, chosen, needed, questions.fingerprint(collected), served, look)
