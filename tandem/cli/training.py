"""collect, train, calibrate, eval: the offline side. What they do lives in `training`, which needs its extra."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from services.common.profile import Profile, load_profile
from tandem.cli.models import pull_missing
from tandem.cli.output import JsonFlag, console, console_error, print_json
from tandem.paths import DEFAULT_PROFILE, models_folder, profile_folders

if TYPE_CHECKING:
    from training.policy import Objective

_EXTRA = "this needs the extra 'training': uv sync --extra training, or pip install 'tandem[training]'"
_Files = Annotated[
    list[Path], typer.Argument(help="Files of `tandem collect`, all of one pair.", exists=True, dir_okay=False)
]
_StudyFolder = Annotated[
    Path | None, typer.Option("--study", help="The folder of the study; studies/PROFILE if not given.")
]
_ProfileName = Annotated[str, typer.Option("--profile", help="The pair, its prompts and stages.")]


@contextmanager
def _explained() -> Iterator[None]:
    """A missing extra and what the training refuses, in a sentence. Exit code 1."""
    try:
        from services.common.errors import TandemError
        from training.datasets import DatasetError
        from training.store import StoreError
        from training.study import StudyError
        from training.train import TooFew
    except ImportError:
        console_error(_EXTRA)
        sys.exit(1)
    try:
        yield
    except (DatasetError, StoreError, StudyError, TooFew, TandemError) as error:
        console_error(str(error))
        sys.exit(1)


def collect(
    data: Annotated[str, typer.Argument(help="math_train, math_test, gsm8k, humaneval, or a .jsonl file of your own.")],
    profile: Annotated[str, typer.Option(help="The pair, its prompts and stages.")] = DEFAULT_PROFILE,
    n: Annotated[int | None, typer.Option(help="How many questions; all if not given.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the order in which questions are drawn.")] = 0,
    subject: Annotated[list[str] | None, typer.Option(help="Only questions of this subject; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file; it is gone on with if it is there.")] = None,
    extras: Annotated[bool, typer.Option(help="Also the concise and the forced answers that `eval` compares with.")] = True,
    width: Annotated[int, typer.Option(help="Questions at once.", min=1)] = 48,
    threads: Annotated[int, typer.Option(help="Processor threads of each model.", min=1)] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    fuse: Annotated[bool, typer.Option(help="Compile int8's loops for big batches; needs a C++ compiler.")] = False,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Ask both models everything that a stop rule can be trained and judged on. Broken off, it goes on where it was."""
    with _explained():
        from training import datasets, session

        loaded = _profile(profile)
        pull_missing(profile, quiet=json)
        wanted = datasets.load(data)
        if subject:
            wanted = wanted.only(subject)
        target = out or Path("collected") / profile / f"{Path(data).name.split('.')[0]}.parquet"
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
        )
        bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=json)
        with bar:
            task = bar.add_task(f"{data} with {profile}", total=None, speed="")

            def tell(done: int, total: int, tokens: int) -> None:
                elapsed = bar.tasks[0].elapsed or 0.0
                speed = f"{tokens / elapsed:,.0f} tokens/s" if tokens and elapsed else ""
                bar.update(task, completed=done, total=total, speed=speed)

            runs = asyncio.run(
                session.collect(
                    loaded, wanted, n, seed, extras, target, models_folder(),
                    session.Machine(threads, width, device, fuse), tell,
                )
            )  # fmt: skip
    rows = session.summary(runs)
    if json:
        print_json({"file": str(target), "runs": rows})
        return
    table = Table("run", "n", "accuracy", "insight tokens", "own tokens", "truncated", box=None)
    for row in rows:
        table.add_row(
            row["run"], str(row["n"]), f"{row['accuracy']:.1%}", f"{row['insight_tokens']:.0f}",
            f"{row['output_tokens']:.0f}", str(row["truncated"]),
        )  # fmt: skip
    console.print(table)
    console.print(f"in {target}")


def train(
    files: _Files,
    profile: _ProfileName = DEFAULT_PROFILE,
    study: _StudyFolder = None,
    kind: Annotated[str, typer.Option(help="mlp, logistic, probe, combined; auto: the least log-loss out of fold.")] = "auto",
    folds: Annotated[int, typer.Option(help="Each question is scored by models that never saw its fold.", min=2)] = 5,
    seed: Annotated[int, typer.Option(help="Of folds and of networks.")] = 0,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Train a sufficiency scorer on collected files, judge every kind of it, and save the best as an artefact."""
    with _explained():
        from training import plots
        from training.collected import load_collected
        from training.estimators import ESTIMATORS
        from training.study import Study
        from training.train import train as run

        if kind not in ("auto", *ESTIMATORS) or kind == "boosting":
            raise typer.BadParameter(f"{kind!r} is none of auto, mlp, logistic, probe, combined", param_hint="--kind")
        loaded = _profile(profile)
        target = Study(study or _study(profile))
        with _working(json) as tell:
            made = run(load_collected(files, loaded), loaded, target, list(ESTIMATORS), kind, folds, seed, tell)
        plots.learning_curve(made.learning_curve, target.folder / "learning-curve.svg")
        plots.reliability(made.kinds[made.chosen]["reliability"], made.chosen, target.folder / "reliability.svg")
    if json:
        print_json({"study": str(target.folder), **made.model_dump(exclude={"questions"})})
        return
    table = Table("kind", "AUROC", "95 %", "by stage", "ECE", "Brier", "log-loss", box=None)
    for name, found in made.kinds.items():
        overall, (low, high) = found["overall"], found["auroc_interval"]
        stages = " ".join("–" if q["auroc"] is None else f"{q['auroc']:.2f}" for q in found["by_stage"])
        table.add_row(
            f"[bold]{name}[/]" if name == made.chosen else name, f"{overall['auroc']:.3f}", f"{low:.2f} to {high:.2f}",
            stages, f"{overall['ece']:.3f}", f"{overall['brier']:.3f}", f"{overall['log_loss']:.3f}",
        )  # fmt: skip
    right = " ".join(f"{q['right']:.0%}" for q in made.kinds[made.chosen]["by_stage"])
    console.print(f"{len(made.questions)} questions, {folds} folds; small model right by stage: {right}")
    console.print(table)
    console.print(f"chosen: {made.chosen}; in {target.folder}. Next: `tandem calibrate {' '.join(map(str, files))}`")


def calibrate(
    files: _Files,
    profile: _ProfileName = DEFAULT_PROFILE,
    study: _StudyFolder = None,
    below: Annotated[float | None, typer.Option(help="Least cost, with an accuracy at most this far below the LLM's.")] = None,
    most_cost: Annotated[float | None, typer.Option(help="Most accuracy, at no more than this share of the LLM's cost.")] = None,
    price: Annotated[float | None, typer.Option(help="Most accuracy - PRICE * share of the LLM's cost.")] = None,
    unit: Annotated[str, typer.Option(help="What costs: paper, full (TFLOPs) or usd.")] = "full",
    llm_finishes: Annotated[bool, typer.Option(help="Where no stage suffices the LLM goes on to its own answer.")] = False,
    write: Annotated[bool, typer.Option(help="Put scorer and thresholds into the profile's folder.")] = False,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Choose when to stop: the policy that meets an objective, by the scores of the files that the scorer was trained on."""
    with _explained():
        from services.gateway.admission import make_plan
        from training import plots
        from training.calibrate import calibrate as run
        from training.collected import load_collected
        from training.ship import ship
        from training.study import Study

        objective = _objective(below, most_cost, price, unit)
        loaded = _profile(profile)
        target = Study(study or _study(profile))
        table = load_collected(files, loaded).table
        with _working(json) as tell:
            found = run(table, make_plan(loaded), target, objective, _told(objective), llm_finishes, tell)
        plots.frontier(found, target.folder / "frontier.svg")
        if write:
            ship(loaded, target)
    if json:
        print_json({"study": str(target.folder), **asdict(found)})
        return
    rows = Table("cost", "95 %", "accuracy", "95 %", "thresholds", "otherwise", box=None)
    for point in found.frontier:
        policy, cost, right = point.policy, point.cost, point.accuracy
        rows.add_row(
            f"{cost.mean:.0%}", f"{cost.low:.0%} to {cost.high:.0%}", f"{right.mean:.1%}",
            f"{right.low:.1%} to {right.high:.1%}", " ".join(f"{t:.2f}" for t in policy.thresholds),
            "LLM finishes" if policy.llm_finishes else "best stage",
        )  # fmt: skip
    console.print(f"frontier on {len(table.questions)} questions, out of fold; the LLM alone: {found.llm_accuracy:.1%}")
    console.print(rows)
    served = found.policies
    console.print(
        f"chosen for {served.objective}: {served.accuracy:.1%} at {served.cost:.0%} of the LLM's cost, thresholds "
        f"{' '.join(f'{t:.2f}' for t in served.served.thresholds)} ({served.served.found_by})"
    )
    console.print(f"in {loaded.folder}" if write else f"in {target.folder}; --write puts it into {loaded.folder}")


def evaluate(
    files: _Files,
    profile: _ProfileName = DEFAULT_PROFILE,
    study: _StudyFolder = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the reports; the study's if not given.")] = None,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Judge the policy on questions that it never saw, against every simple alternative; writes a report for each file."""
    with _explained():
        from services.gateway.admission import make_plan
        from training.collected import load_collected
        from training.evaluate import evaluate as run
        from training.report import write_report
        from training.study import Study

        loaded, target = _profile(profile), Study(study or _study(profile))
        trained = {source["dataset_sha256"]: source["dataset"] for source in target.training().sources}
        found, reports = [], []
        for file in files:
            collected = load_collected([file], loaded)
            if same := set(collected.table.questions) & set(target.training().questions):
                console_error(f"{file}: {len(same)} of its questions were trained on ({', '.join(trained.values())})")
                sys.exit(1)
            with _working(json) as tell:
                tell(f"{collected.datasets}: {len(collected.table.questions)} questions")
                found.append(run(collected.datasets, collected.table, make_plan(loaded), target))
            reports.append(write_report(found[-1], target, out or target.folder))
    if json:
        print_json({"evaluations": [asdict(e) for e in found], "reports": [str(r) for r in reports]})
        return
    for evaluation, report in zip(found, reports, strict=True):
        rows = Table(
            "way to answer", "accuracy", "95 %", "less LLM", "p", "cost full", "paper", "LLM tok", "SLM tok", box=None
        )
        for row in evaluation.rows:
            right = row.accuracy
            rows.add_row(
                row.name, f"{right.mean:.1%}", f"{right.low:.1%} to {right.high:.1%}", f"{100 * row.difference.mean:+.1f}",
                f"{row.p_llm:.3f}", f"{row.relative_full.mean:.0%}", f"{row.relative_paper.mean:.0%}",
                f"{row.llm_tokens:.0f}", f"{row.slm_tokens:.0f}", style="bold" if row.name == "tandem" else "",
            )  # fmt: skip
        console.print(f"\n{evaluation.dataset}: {evaluation.n} questions")
        console.print(rows)
        if evaluation.gap_closed is not None:
            gap = evaluation.gap_closed
            console.print(
                f"oracle gap closed over {evaluation.best_fixed}: {gap.mean:.0%} [{gap.low:.0%}, {gap.high:.0%}]"
            )
        console.print(f"report: {report}")


def _profile(name: str) -> Profile:
    return load_profile(name, tuple(profile_folders()))


def _study(profile: str) -> Path:
    return Path("studies") / profile


@contextmanager
def _working(quiet: bool) -> Iterator[Any]:
    """A line that says what goes on, for as long as it does."""
    if quiet:
        yield lambda told: None
        return
    with console.status("") as status:
        yield lambda told: status.update(told)


def _objective(below: float | None, most_cost: float | None, price: float | None, unit: str) -> Objective:
    from training.policy import Objective

    if unit not in ("paper", "full", "usd"):
        raise typer.BadParameter(f"{unit!r} is none of paper, full, usd", param_hint="--unit")
    given = [value for value in (below, most_cost, price) if value is not None]
    if len(given) > 1:
        raise typer.BadParameter("--below, --most-cost and --price exclude each other: give one")
    return Objective(unit, below if given else 0.0, most_cost, price)  # type: ignore[arg-type]


def _told(objective: Objective) -> str:
    if objective.below is not None:
        return f"least {objective.unit} cost at an accuracy no more than {objective.below:.1%} below the LLM's"
    if objective.most_cost is not None:
        return f"most accuracy at no more than {objective.most_cost:.0%} of the LLM's {objective.unit} cost"
    return f"most accuracy - {objective.price} * share of the LLM's {objective.unit} cost"
