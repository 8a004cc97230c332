"""tandem calibrate"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

from lab.verbs.disputes import are_requests, promise_by_agreement
from lab.verbs.offline import (
    FilesOrNone,
    ProfileName,
    StudyFolder,
    explained,
    find_profile,
    known_unit,
    new_study,
    working,
)
from lab.verbs.promise import keep_promise
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.tables import print_table
from tandem.paths import DEFAULT_PROFILE

if TYPE_CHECKING:
    from lab.training.calibrate import Calibration
    from lab.training.policy import Objective, Policy, Unit


def calibrate(
    files: FilesOrNone = None,
    profile: ProfileName = DEFAULT_PROFILE,
    study: StudyFolder = None,
    below: Annotated[
        float | None, typer.Option(help="Minimise the cost, with an accuracy at most this much below the LLM's.")
    ] = None,
    most_cost: Annotated[
        float | None, typer.Option(help="Maximise the accuracy, at no more than this share of the LLM's cost.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="Maximise accuracy - PRICE * share of the LLM's cost.")] = None,
    cost: Annotated[
        str, typer.Option(help="What cost is counted in: paper or full (TFLOPs), usd, or seconds of the devices.")
    ] = "full",
    lose_at_most: Annotated[
        float | None,
        typer.Option(
            help="Promise: at most this share of the questions is lost, on files that chose nothing else.",
            min=0.001,
            max=0.999,
        ),
    ] = None,
    confidence: Annotated[float, typer.Option(help="Of the promise.", min=0.5, max=0.9999)] = 0.95,
    from_outcomes: Annotated[
        bool,
        typer.Option(
            "--from-outcomes",
            help="Of the promise: judge by what became of served requests, from the gateway, not by files.",
        ),
    ] = False,
    tenant: Annotated[
        list[str] | None,
        typer.Option(help="Whose outcomes, with --from-outcomes; several times for several. Default: the caller's."),
    ] = None,
    llm_finishes: Annotated[
        bool, typer.Option(help="Where no stage suffices, let the LLM finish its own answer.")
    ] = False,
    write: Annotated[bool, typer.Option(help="Write scorer and thresholds to the profile's folder.")] = False,
    json: JsonFlag = False,
) -> None:
    """Choose thresholds, trials and checks that meet an objective, on the files that the scorer was trained on, out of
    fold.

    With --lose-at-most: how strict the profile's checks and thresholds must be for a promise, on files that chose
    nothing else; or, on a file of requests with the answers of two small models and the large one, whether agreement
    keeps it (`tandem disputes` takes labels).
    """
    if from_outcomes and (lose_at_most is None or files):
        raise typer.BadParameter("it needs --lose-at-most, and takes no files", param_hint="--from-outcomes")
    if not (files or from_outcomes):
        raise typer.BadParameter("give the collected files", param_hint="FILES")
    if lose_at_most is not None:
        if any(value is not None for value in (below, most_cost, price)) or llm_finishes:
            raise typer.BadParameter(
                "it makes the profile's policy stricter, and takes no objective beside it", param_hint="--lose-at-most"
            )
        if from_outcomes:
            from lab.verbs.from_outcomes import calibrate_from_outcomes

            calibrate_from_outcomes(profile, study, tenant or (), lose_at_most, confidence, write=write, json=json)
            return
        assert files
        if are_requests(files):
            promise_by_agreement(files[0], profile, study, lose_at_most, confidence, write=write, json=json)
            return
        keep_promise(files, profile, study, lose_at_most, confidence, cost, write=write, json=json)
        return
    assert files
    with explained():
        from lab.training.calibrate import calibrate as run
        from lab.training.collected import load_collected
        from lab.training.ship import ship
        from lab.training.study import Study

        objective = _objective(below, most_cost, price, cost)
        loaded = find_profile(profile)
        target = Study(study or new_study(profile))
        collected = load_collected(files, loaded)
        known_unit(cost, collected.plan)
        with working(json) as report:
            try:
                found = run(
                    collected.table,
                    collected.plan,
                    target,
                    objective,
                    _describe(objective),
                    llm_finishes,
                    "code" in loaded.stop.tasks,
                    report,
                )
            except ValueError as error:
                raise typer.BadParameter(str(error), param_hint="--cost") from error
        if write:
            ship(loaded, target, collected.table)
    if json:
        print_json({"study": str(target.folder), **asdict(found)})
        return
    checked = int(collected.table.is_checked.sum())
    console.print(
        f"frontier on {len(collected.table.questions)} questions, out of fold, {checked} of them with a check; the "
        f"LLM alone: {found.llm_accuracy:.1%}"
    )
    _show(found)
    console.print(f"in {loaded.folder}" if write else f"in {target.folder}; --write copies it to {loaded.folder}")


def _show(found: Calibration) -> None:
    rows = Table(
        "cost", "95 %", "accuracy", "95 %", *found.served.costs, "s", "thresholds", "otherwise", "trial", box=None
    )
    for point in [*found.frontier, found.served]:
        policy, right = point.policy, point.accuracy
        rows.add_row(
            f"{point.cost.mean:.0%}", f"{point.cost.low:.0%} to {point.cost.high:.0%}", f"{right.mean:.1%}",
            f"{right.low:.1%} to {right.high:.1%}", *(f"{each.mean:.0%}" for each in point.costs.values()),
            "" if point.latency is None else f"{point.latency:.1f}", " ".join(f"{t:.2f}" for t in policy.thresholds),
            "LLM finishes" if policy.llm_finishes else "best stage", describe_trial(policy),
            style="bold" if point is found.served else "",
        )  # fmt: skip
    print_table(rows, optional=("s", *(u for u in found.served.costs if u != "full"), "otherwise", "95 %"))
    served = found.policies
    console.print(
        f"chosen for {served.objective} (last row): {served.accuracy:.1%} at {served.cost:.0%} of the LLM's cost "
        f"({served.served.found_by}; {describe_trial(served.served) or 'no trials'})"
    )
    if found.agreement:
        point = found.agreement
        console.print(
            f"best with trials that must agree: {point.accuracy.mean:.1%} at {point.cost.mean:.0%} "
            f"[{point.cost.low:.0%}, {point.cost.high:.0%}]"
        )


def describe_trial(policy: Policy) -> str:
    """Its trial in a few words; empty without one."""
    trial = policy.trial
    if not trial.stages:
        return ""
    parts = [f"by {', '.join(trial.order)}"] if trial.order != ["slm"] else []
    parts += [f"stages {', '.join(map(str, trial.stages))}", trial.mode, f"to {trial.max_tokens} tokens"]
    parts += [f"{trial.repairs} repair"] if trial.repairs else []
    parts += [f"LLM up to {trial.escalate_max_tokens} tokens"] if trial.escalate_max_tokens else []
    parts += [f"{policy.agreement} must agree"] if policy.agreement else []
    parts += ["programs must agree"] if policy.programs_agree else []
    return ", ".join(parts)


def _objective(below: float | None, most_cost: float | None, price: float | None, unit: str) -> Objective:
    from lab.training.policy import Objective

    given = [value for value in (below, most_cost, price) if value is not None]
    if len(given) > 1:
        raise typer.BadParameter("--below, --most-cost and --price exclude each other: give one")
    return Objective(cast("Unit", unit), below if given else 0.0, most_cost, price)


def _describe(objective: Objective) -> str:
    if objective.below is not None:
        return f"lowest {objective.unit} cost at an accuracy no more than {objective.below:.1%} below the LLM's"
    if objective.most_cost is not None:
        return f"highest accuracy at no more than {objective.most_cost:.0%} of the LLM's {objective.unit} cost"
    return f"highest accuracy - {objective.price} * share of the LLM's {objective.unit} cost"
