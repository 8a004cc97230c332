"""tandem train"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.table import Table
from rich.text import Text

from lab.verbs.offline import Files, ProfileName, StudyFolder, explained, find_profile, new_study, working
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.tables import print_table
from tandem.paths import DEFAULT_PROFILE


def train(
    files: Files,
    profile: ProfileName = DEFAULT_PROFILE,
    study: StudyFolder = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="More files, of `collect --only-question`, to train on; repeatable.", exists=True),
    ] = None,
    label: Annotated[
        str,
        typer.Option(
            help="What a score predicts. nothing_lost: continuing would gain nothing. right: the small model answers "
            "correctly (the paper's label)."
        ),
    ] = "nothing_lost",
    kind: Annotated[
        str, typer.Option(help="mlp, logistic, probe or combined; auto: the kind with the lowest out-of-fold log-loss.")
    ] = "auto",
    folds: Annotated[
        int,
        typer.Option(
            help="Folds of the cross-fitting: models that score a question were not trained on its fold.", min=2
        ),
    ] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the folds and of the networks.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Train a sufficiency scorer of every kind on collected files, compare them, and save the best as an artefact."""
    if label not in ("nothing_lost", "right"):
        raise typer.BadParameter(f"{label!r} is neither nothing_lost nor right", param_hint="--label")
    with explained():
        from lab.training.collected import load_collected
        from lab.training.estimators import ESTIMATORS
        from lab.training.study import Study
        from lab.training.train import TrainingOptions
        from lab.training.train import train as run

        if kind not in ("auto", *ESTIMATORS) or kind == "boosting":
            raise typer.BadParameter(f"{kind!r} is none of auto, mlp, logistic, probe, combined", param_hint="--kind")
        loaded = find_profile(profile)
        target = Study(study or new_study(profile))
        with working(json) as report:
            more = load_collected(also, loaded, only_question=True) if also else None
            options = TrainingOptions(list(ESTIMATORS), kind, cast(Any, label), folds, seed)
            trained = run(load_collected(files, loaded), loaded, target, options, report, more)
    if json:
        print_json({"study": str(target.folder), **trained.model_dump(exclude={"questions"})})
        return
    table = Table("kind", "AUROC", "95 %", "by stage", "ECE", "Brier", "log-loss", box=None)
    for name, found in trained.kinds.items():
        overall, (low, high) = found.overall, found.auroc_interval
        stages = " ".join("–" if q.auroc is None else f"{q.auroc:.2f}" for q in found.by_stage)
        table.add_row(
            Text(name, "bold" if name == trained.chosen else ""), f"{overall.auroc:.3f}", f"{low:.2f} to {high:.2f}",
            stages, f"{overall.ece:.3f}", f"{overall.brier:.3f}", f"{overall.log_loss:.3f}",
        )  # fmt: skip
    share = " ".join(f"{q.right:.0%}" for q in trained.kinds[trained.chosen].by_stage)
    extra = f" and {len(trained.more_questions)} more" if trained.more_questions else ""
    console.print(
        f"{len(trained.questions)} questions{extra}, {folds} folds; {label.replace('_', ' ')} by stage: {share}"
    )
    print_table(table, optional=("Brier", "95 %"))
    console.print(f"chosen: {trained.chosen}; in {target.folder}. Next: `tandem calibrate {' '.join(map(str, files))}`")
