"""Checks of collected answers, by the code that serves: what each run's verdict comes from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version

from lab.training.collect import Insight, Run, run_of
from lab.training.datasets import Item
from lab.training.grading import code_of
from lab.training.machine import written
from lab.training.names import AGREEMENTS
from services.answer_checker.checker import AnswerChecker, allows_weak_sandbox, start_sandbox
from services.answer_checker.sandbox.layers import Limits
from services.models.engine.api import RunningModel
from services.models.engine.writer import Writing
from services.shared.checks.built_in import PYTHON_EXAMPLES
from services.shared.checks.registry import applies
from tandem.method.answer import final_answer
from tandem.method.evidence.checks import AGREEMENT, CheckSpec, Repair, Verdict, combined, failure, score
from tandem.method.names import DISTRIBUTION
from tandem.method.profile.profile import Profile
from tandem.method.request.prompts import repair_prompt
from tandem.method.request.tasks import CheckTask
from tandem.method.roles import SMALL_ROLES
from tandem.method.tokens import GREEDY

CHECKED = "llm", "repair", *SMALL_ROLES
"""The kinds of runs that serving would check."""


def checker_version(profile: Profile) -> str:
    """Identifies what gave the verdicts of a file: the checks of code, and the release."""
    agreement = agreement_check(profile)
    names = ",".join(map(str, [*code_checks(profile), *([agreement] if agreement else [])]))
    return f"tandem {version(DISTRIBUTION)}: {names}"


def code_checks(profile: Profile) -> list[CheckSpec]:
    """The profile's of one program; where it has none yet, the examples in the question, so that a calibration can
    choose them.
    """
    own = [spec for spec in profile.checks.of("code") if spec.name != AGREEMENT and not spec.wants_other]
    return own or [CheckSpec(PYTHON_EXAMPLES.name)]


def agreement_check(profile: Profile) -> CheckSpec | None:
    """By which programs of two small models must compute the same; None where the profile asks for none."""
    return next((spec for spec in profile.checks.of("code") if spec.wants_other), None)


def is_checked(run: Run, profile: Profile) -> bool:
    """Whether a check applies to the question of a programming task, as admission decides it for a request."""
    return bool(run.verdict) and any(applies(spec, run.asked, "code") for spec in code_checks(profile))


@asynccontextmanager
async def answer_checker(concurrency: int) -> AsyncIterator[AnswerChecker]:
    """Raises FailedPrecondition where this machine would not isolate programs and nobody allowed that."""
    sandbox = await start_sandbox(allow_weak=allows_weak_sandbox())
    try:
        yield AnswerChecker(sandbox, Limits(), concurrency, max_waiting=1 << 20)
    finally:
        await sandbox.stop()


async def check_runs(
    runs: Sequence[Run], items: Mapping[str, Item], profile: Profile, concurrency: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Run]:  # fmt: skip
    """The runs in their order, those of programming tasks with a verdict; a run that has one keeps it.

    `items` are the questions by id; `progress` is told how many runs of how many were checked.
    """
    wanted = {i for i, run in enumerate(runs) if _is_due(run, items)}
    if not wanted:
        return list(runs)
    done = 0
    async with answer_checker(concurrency) as checker:

        async def check(run: Run) -> Run:
            nonlocal done
            checked = await _checked(run, items[run.question], profile, checker)
            done += 1
            progress(done, len(wanted))
            return checked

        found = await asyncio.gather(*(check(runs[i]) for i in sorted(wanted)))
    by_index = dict(zip(sorted(wanted), found, strict=True))
    return [by_index.get(i, run) for i, run in enumerate(runs)]


def without_verdicts(runs: Sequence[Run]) -> list[Run]:
    """As before any check, to be checked anew; what the verdicts have led to, repairs and comparisons, is dropped with
    them.
    """
    kept = [run for run in runs if run.name not in ("repair", *AGREEMENTS.values())]
    return [replace(run, verdict="", score=0.0, failure="", check_seconds=0.0) for run in kept]


def _is_due(run: Run, items: Mapping[str, Item]) -> bool:
    item = items.get(run.question)
    return item is not None and item.task == "code" and run.name in CHECKED and not run.verdict


async def _checked(run: Run, item: Item, profile: Profile, checker: AnswerChecker) -> Run:
    # After an insight the block may have begun in it: the graded program has it whole.
    answer = code_of(item, run.answer) if run.stage else final_answer(run.text, "code")
    task = CheckTask(run.question, item.question, answer, code_checks(profile), item.task)
    results = await checker.check(task)
    return replace(
        run,
        verdict=combined(results).value,
        score=score(results),
        failure=failure(results),
        check_seconds=sum(result.seconds for result in results),
    )


def unrepaired(runs: Sequence[Run]) -> list[Run]:
    """Answers to the bare question that failed and have no repair yet."""
    repaired = {run.question for run in runs if run.name == "repair"}
    first = [run for run in runs if (run.name, run.stage) == ("slm", 0)]
    return [run for run in first if run.verdict == Verdict.FAIL and run.question not in repaired]


async def repair(failed: Run, items: Mapping[str, Item], profile: Profile, slm: RunningModel) -> Run:
    """The small model's next answer, not checked yet. Raises EngineError."""
    item = items[failed.question]
    asked = repair_prompt(profile, item.request, Repair(failed.text, failed.failure))
    done = await written(slm, Writing(f"{item.id}/repair", asked, profile.execution.max_tokens, GREEDY))
    return run_of(item, "repair", Insight(), done)
