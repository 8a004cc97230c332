"""The further small models on collected questions: their answers to the bare question, and whose programs agree."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from lab.training.checking import agreement_check, answer_checker
from lab.training.collect import Insight, Run, run_of
from lab.training.datasets import Item
from lab.training.machine import written
from lab.training.names import AGREEMENTS
from services.answer_checker.checker import AnswerChecker
from services.models.engine.api import RunningModel
from services.models.engine.writer import Writing
from services.shared.checks.registry import applies
from tandem.method.answer import final_answer
from tandem.method.evidence.checks import CheckSpec, Verdict
from tandem.method.profile.profile import Profile
from tandem.method.request.prompts import answer_prompt
from tandem.method.request.tasks import CheckTask
from tandem.method.tokens import GREEDY


def unasked(runs: Sequence[Run], items: Mapping[str, Item], role: str) -> list[Item]:
    """Questions that the first small model has answered and this one has not."""
    answered = {run.question for run in runs if run.name == role}
    first = [run.question for run in runs if (run.name, run.stage) == ("slm", 0)]
    return [items[question] for question in first if question in items and question not in answered]


async def answer(item: Item, profile: Profile, role: str, engine: RunningModel) -> Run:
    """The answer to the bare question, not checked yet. Raises EngineError."""
    asked = answer_prompt(profile, item.request)
    key, most = f"{item.id}/{role}", profile.execution.max_tokens
    done = await written(engine, Writing(key, asked, most, GREEDY, item.json_schema))
    return run_of(item, role, Insight(), done)


def without(runs: Sequence[Run], roles: Collection[str]) -> list[Run]:
    """Without the answers of these models, and without what they were compared with."""
    gone = {*roles, *(name for pair, name in AGREEMENTS.items() if not set(pair).isdisjoint(roles))}
    return [run for run in runs if run.name not in gone]


async def compare_all(runs: Sequence[Run], items: Mapping[str, Item], profile: Profile, concurrency: int) -> list[Run]:
    """The runs, with one more for each two small models' programs to which the profile's check of agreement applies.

    Where either program has failed its own checks they are not compared, as no request compares them.
    """
    spec, bare = agreement_check(profile), {(run.name, run.question): run for run in runs if not run.stage}
    due = [
        (name, bare[one, run.question], run)
        for (one, other), name in AGREEMENTS.items()
        for run in runs
        if spec and run.name == other and run.verdict and (one, run.question) in bare
        if run.question in items and (name, run.question) not in bare
        if applies(spec, items[run.question].question, "code")
    ]
    if not spec or not due:
        return list(runs)
    async with answer_checker(concurrency) as checker:
        found = (_agreement(name, one, run, items[run.question], spec, checker) for name, one, run in due)
        return [*runs, *await asyncio.gather(*found)]


async def _agreement(name: str, one: Run, other: Run, item: Item, spec: CheckSpec, checker: AnswerChecker) -> Run:
    verdict, score, seconds = Verdict.UNKNOWN, 0.0, 0.0
    if Verdict.FAIL not in (one.verdict, other.verdict):
        check = spec.beside(final_answer(one.text, "code"))
        task = CheckTask(item.id, item.question, final_answer(other.text, "code"), [check], item.task)
        [result] = await checker.check(task)
        verdict, score, seconds = result.verdict, result.score, result.seconds
    return Run(
        question=item.id, subject=item.subject, name=name, stage=0, prompt_tokens=0, insight_tokens=0,
        output_tokens=0, truncated=False, text="", answer="", right=False,
        verdict=verdict.value, score=score, check_seconds=seconds,
    )  # fmt: skip
