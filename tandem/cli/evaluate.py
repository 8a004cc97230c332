"""tandem eval"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid

from services.common.profile import Profile
from tandem.cli.collect import default_file, gather
from tandem.cli.offline import ProfileName, any_study, explained, find_profile, new_study, working
from tandem.cli.output import JsonFlag, console, console_error, print_json
from tandem.client import Client
from tandem.paths import DEFAULT_PROFILE
from tandem.results import to_dict

if TYPE_CHECKING:
    from training.collected import Collected
    from training.live import Compared
    from training.study import Study


def evaluate(
    files: Annotated[list[Path] | None, typer.Argument(help="Files of `tandem collect`.", exists=True, dir_okay=False)] = None,
    data: Annotated[
        str | None, typer.Option(help="gsm8k, math_test, humaneval, or a .jsonl file of questions: collected first.")
    ] = None,
    n: Annotated[int | None, typer.Option(help="Of --data: how many questions; all if not given.", min=1)] = None,
    profile: ProfileName = DEFAULT_PROFILE,
    study: Annotated[Path | None, typer.Option(help="studies/PROFILE, or the one shipped with the profile.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the reports; studies/PROFILE if not given.")] = None,
    live: Annotated[int, typer.Option(help="Also ask this many questions of the running system, and compare.", min=0)] = 0,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Judge the policy on questions that it never saw, against every simple alternative; writes a report for each file."""
    with explained():
        from training import datasets
        from training.collected import load_collected
        from training.evaluate import evaluate as run
        from training.report import write_report
        from training.session import Machine
        from training.study import Study

        loaded, judged = find_profile(profile), Study(study or any_study(profile))
        every = list(files or [])
        if data:
            wanted = datasets.load(data)
            every.append(default_file(loaded, wanted))
            gather(loaded, wanted, n, 0, True, every[-1], Machine(), json)
        if not every:
            raise typer.BadParameter("give files of `tandem collect`, or --data", param_hint="files")
        found, reports, compared = [], [], []
        for file in every:
            collected = load_collected([file], loaded)
            if same := set(collected.table.questions) & set(judged.training().questions):
                console_error(f"{file}: {len(same)} of its questions were trained on")
                sys.exit(1)
            with working(json) as tell:
                tell(f"{collected.datasets}: {len(collected.table.questions)} questions")
                found.append(run(collected.datasets, collected.table, collected.plan, judged))
            reports.append(write_report(found[-1], judged, out or new_study(profile)))
            if live:
                texts = datasets.load(data or collected.origins[0].dataset.partition(":")[0]).items
                compared += _ask(loaded, judged, collected, {i.id: i.question for i in texts}, live, json)
    if json:
        print_json(
            {
                "evaluations": [asdict(e) for e in found],
                "reports": [str(r) for r in reports],
                "live": [{**asdict(c), "agrees": c.agrees} for c in compared],
            }
        )
        return
    for evaluation, report in zip(found, reports, strict=True):
        rows = Grid(
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
    if compared:
        gaps = sorted(c.score_gap for c in compared)
        agreed = sum(c.agrees for c in compared)
        console.print(
            f"\nlive: {agreed} of {len(compared)} questions were decided as here; scores differ by {gaps[len(gaps) // 2]:.4f} "
            f"in the middle and {gaps[-1]:.4f} at most"
        )
        for c in compared:
            if not c.agrees:
                console.print(f"  {c.question}: stage {c.offline_stage} here, {c.live_stage} live", style="dim")


def _ask(
    profile: Profile, study: Study, collected: Collected, texts: dict[str, str], n: int, quiet: bool
) -> list[Compared]:
    from training.evaluate import scores_of
    from training.live import compare

    scores = scores_of(study.artefact(study.training().chosen), collected.table)
    with Client() as client, working(quiet) as tell:
        asked = 0

        def ask(question: str) -> dict[str, Any]:
            nonlocal asked
            asked += 1
            tell(f"asking the running system, question {asked} of {n}")
            return to_dict(client.ask(question, profile=profile.name))

        return compare(collected.table, collected.plan, study.policies().served, scores, texts, n, ask)
