"""train, calibrate and eval where the small model calls tools: on files of lab.calls.collect, and on tasks of the
leaderboard's form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from lab.verbs.offline import explained, find_profile, new_study, working
from tandem.cli.models import pull_missing
from tandem.cli.output import console, console_note, print_json
from tandem.method.request.plan import make_plan
from tandem.paths import REPOSITORY

if TYPE_CHECKING:
    from lab.calls.study import Answers
    from lab.calls.tasks import CallTasks
    from tandem.method.profile.profile import Profile

FOLDER = "calls"


def are_calls(files: Sequence[Path]) -> bool:
    """Whether files are collected calls. Raises BadParameter for a mixture."""
    of_calls = [file.suffix == ".jsonl" for file in files]
    if any(of_calls) and (len(files) > 1 or not all(of_calls)):
        raise typer.BadParameter("a file of calls is given alone", param_hint="FILES")
    return all(of_calls)


def are_tasks(data: str) -> bool:
    """Whether `data` is a file of tasks with tools."""
    from lab.calls.tasks import are_tasks

    return are_tasks(data)


def train_calls(file: Path, profile: str, study: Path | None, label: str, folds: int, seed: int, json: bool) -> None:
    with explained():
        from lab.calls.evaluation import evidence, evidence_lines
        from lab.calls.study import CallStudy
        from lab.calls.training import train

        answers = _answers(file, find_profile(profile))
        target = CallStudy(study or new_study(profile) / FOLDER)
        with working(json) as report:
            report(f"calls: {folds} folds over {len(answers.table)} tasks")
            trained = train(answers.table, answers.source, cast(Any, label), folds, seed)
        target.save(trained, answers.table)
        found = evidence(answers.table, trained.scores, trained.routed)
    if json:
        print_json(
            {"study": str(target.folder), **trained.scorer.trained_on.model_dump(), "evidence": list(map(vars, found))}
        )
        return
    console.print(f"{_how_many(answers)}; out of fold")
    typer.echo("\n".join(evidence_lines(found)))
    console.print(f"in {target.folder}. Next: `tandem calibrate {file}`")


def calibrate_calls(
    file: Path, profile: str, study: Path | None, below: float | None, unit: str, mixes: Sequence[float], *,
    write: bool, json: bool,
) -> None:  # fmt: skip
    with explained():
        from lab.calls.evaluation import as_contract, evaluate, lines
        from lab.calls.policy import Goal, search
        from lab.calls.study import CallStudy

        loaded = find_profile(profile)
        answers, target = _answers(file, loaded), CallStudy(study or new_study(profile) / FOLDER)
        plan, goal = make_plan(loaded, "chat", may_call=True), Goal(below or 0.0, cast(Any, unit), tuple(mixes))
        scores = target.scores(answers.table)
        policy = search(answers.table, plan, scores, goal)
        target.save_policy(policy, str(goal), mixes)
        found = evaluate(answers.table, plan, scores, policy, mixes)
        if write:
            from lab.training.ship import ship_calls

            ship_calls(loaded, target.scorer(), policy.calls, policy.texts, float(answers.table.llm.tokens.mean()))
    if json:
        whole = as_contract(found, profile, str(file), answers.tasks.sha256, answers.source.computed_by)
        print_json({"study": str(target.folder), "policy": vars(policy), "goal": str(goal), **whole})
        return
    console.print(f"{_how_many(answers)}; out of fold; {goal}")
    typer.echo("\n".join(lines(found)))
    console.print(f"calls are accepted from {policy.calls:g}, texts without a call from {policy.texts:g}")
    console.print(f"in {loaded.folder}" if write else f"in {target.folder}; --write copies it to {loaded.folder}")


def evaluate_calls(
    data: str, profile: str, n: int | None, collected: Path | None, *, ask: bool, study: Path | None, again: bool,
    json_out: Path | None,
) -> Mapping[str, Any]:  # fmt: skip
    """The JSON of the evaluation; shown where `json_out` is not \"-\"."""
    quiet = json_out == Path("-")
    with explained():
        from lab.calls import collect
        from lab.calls.evaluation import as_contract, evaluate, lines
        from lab.calls.methods import served_scores
        from lab.calls.study import CallStudy, judge
        from lab.calls.tasks import load
        from lab.calls.training import words_of
        from lab.training.errors import StudyError

        loaded, tasks = find_profile(profile), load(data)
        judged = CallStudy(study or _any_study(profile))
        if same := judged.trained_ids() & {task.id for task in tasks.items}:
            raise StudyError(f"{data}: {len(same)} of its tasks are in the training set")
        file = collected or Path("collected") / profile / f"{tasks.path.stem}.jsonl"
        if ask:
            pull_missing(profile, "llamacpp", quiet=quiet)
            collect.run(tasks.first(n), loaded, file)
        answers = _answers(file, loaded, tasks)
        records = judge(answers, judged, again=again)
        scores = served_scores(judged.scorer(), judged.router(), answers.table, words_of(answers.table))
        plan = make_plan(loaded, "chat", may_call=True)
        found = evaluate(answers.table, plan, scores, judged.policy(), judged.mixes())
        figures = as_contract(found, profile, data, tasks.sha256, answers.source.computed_by) | {"judged": records}
    if not quiet:
        console.print(f"{_how_many(answers)}; the policy was fixed on {judged.fixed_on()}")
        for record in records[:-1]:
            console_note(f"judged before, on {record['judged_on']}, by the policy of {record['fixed_on']}")
        typer.echo("\n".join(lines(found)))
    return figures


def _any_study(profile: str) -> Path:
    """That of this folder, or the one that was shipped with the profile."""
    here = new_study(profile) / FOLDER
    return here if here.is_dir() else REPOSITORY / "lab" / "training" / here


def _answers(file: Path, profile: Profile, tasks: CallTasks | None = None) -> Answers:
    from lab.calls import study

    return study.load(file, profile, tasks)


def _how_many(answers: Answers) -> str:
    return f"{len(answers.table)} of {len(answers.tasks.items)} tasks of {answers.tasks.path.name}"
