"""tandem calibrate"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tandem.cli.offline import Files, ProfileName, StudyFolder, explained, find_profile, new_study, working
from tandem.cli.output import JsonFlag, console, print_json
from tandem.paths import DEFAULT_PROFILE

if TYPE_CHECKING:
    from training.policy import Objective


def calibrate(
    files: Files,
    profile: ProfileName = DEFAULT_PROFILE,
    study: StudyFolder = None,
    below: Annotated[float | None, typer.Option(help="Minimise the cost, with an accuracy at most this much below the LLM's.")] = None,
    most_cost: Annotated[float | None, typer.Option(help="Maximise the accuracy, at no more than this share of the LLM's cost.")] = None,
    price: Annotated[float | None, typer.Option(help="Maximise accuracy - PRICE * share of the LLM's cost.")] = None,
    unit: Annotated[str, typer.Option(help="Unit of cost: paper or full (TFLOPs), or usd.")] = "full",
    llm_finishes: Annotated[bool, typer.Option(help="Where no stage suffices, let the LLM finish its own answer.")] = False,
    write: Annotated[bool, typer.Option(help="Write scorer and thresholds to the profile's folder.")] = False,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Choose the thresholds that meet an objective, by the out-of-fold scores of the files that the scorer was trained on."""
    with explained():
        from training import plots
        from training.calibrate import calibrate as run
        from training.collected import load_collected
        from training.ship import ship
        from training.study import Study

        objective = _objective(below, most_cost, price, unit)
        loaded = find_profile(profile)
        target = Study(study or new_study(profile))
        collected = load_collected(files, loaded)
        with working(json) as report:
            found = run(collected.table, collected.plan, target, objective, _describe(objective), llm_finishes, report)
        plots.frontier(found, target.folder / "frontier.svg")
        if write:
            ship(loaded, target, collected.table)
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
    console.print(
        f"frontier on {len(collected.table.questions)} questions, out of fold; the LLM alone: {found.llm_accuracy:.1%}"
    )
    console.print(rows)
    served = found.policies
    console.print(
        f"chosen for {served.objective}: {served.accuracy:.1%} at {served.cost:.0%} of the LLM's cost, thresholds "
        f"{' '.join(f'{t:.2f}' for t in served.served.thresholds)} ({served.served.found_by})"
    )
    console.print(f"in {loaded.folder}" if write else f"in {target.folder}; --write copies it to {loaded.folder}")


def _objective(below: float | None, most_cost: float | None, price: float | None, unit: str) -> Objective:
    from training.policy import Objective

    if unit not in ("paper", "full", "usd"):
        raise typer.BadParameter(f"{unit!r} is none of paper, full, usd", param_hint="--unit")
    given = [value for value in (below, most_cost, price) if value is not None]
    if len(given) > 1:
        raise typer.BadParameter("--below, --most-cost and --price exclude each other: give one")
    return Objective(unit, below if given else 0.0, most_cost, price)  # type: ignore[arg-type]


def _describe(objective: Objective) -> str:
    if objective.below is not None:
        return f"lowest {objective.unit} cost at an accuracy no more than {objective.below:.1%} below the LLM's"
    if objective.most_cost is not None:
        return f"highest accuracy at no more than {objective.most_cost:.0%} of the LLM's {objective.unit} cost"
    return f"highest accuracy - {objective.price} * share of the LLM's {objective.unit} cost"
