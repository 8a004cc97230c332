"""tandem plan"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from lab.verbs.capacity import CapacityOptions
from lab.verbs.offline import ProfileName, explained, find_profile, working
from lab.verbs.plan_options import Given
from lab.verbs.promise import show_promises
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.tables import print_table
from tandem.paths import DEFAULT_PROFILE

if TYPE_CHECKING:
    from lab.training.forecast import Estimate, Forecast
    from tandem.planning.levers import Need

_RATES = (1.0, 10.0, 100.0)
_POLICIES = {
    "cascade": "cascade: a score of the small model's answer",
    "router": "router: a score of the question",
    "check": "check of the small model's answer, else score",
    "check_all": "the same, every failure to the large model",
    "staged": "staged stop: a score after each insight",
}
_FIGURES = {
    "small model right": "small",
    "large model right": "large",
    "both right": "both",
    "cost of a small answer": "answer_cost",
    "AUROC of a score of its answer": "auroc",
    "AUROC of a score before it": "early_auroc",
}


def plan(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Files of `tandem collect`, which all other figures are measured on; 50 questions suffice.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    small: Annotated[
        float | None,
        typer.Option(help="Share of the questions that the small model answers right.", min=0.001, max=0.999),
    ] = None,
    large: Annotated[
        float | None, typer.Option(help="Share that the large model answers right.", min=0.001, max=0.999)
    ] = None,
    both: Annotated[
        float | None, typer.Option(help="Share that both answer right; instead of --correlation.", min=0, max=1)
    ] = None,
    correlation: Annotated[
        float | None, typer.Option(help="Latent correlation of being right; default: 0.6.", min=-0.999, max=0.999)
    ] = None,
    price_ratio: Annotated[
        float | None, typer.Option(help="Price of a token of the large model : of the small model.", min=0.01)
    ] = None,
    llm_usd: Annotated[
        str,
        typer.Option(
            metavar="IN/OUT",
            help="USD per million tokens of the large model; with --slm-usd, instead of --price-ratio.",
        ),
    ] = "",
    slm_usd: Annotated[str, typer.Option(metavar="IN/OUT", help="The same of the small model.")] = "",
    tokens: Annotated[
        str,
        typer.Option(
            metavar="IN/OUT", help="Tokens of a question and of the large model's answer, for the USD prices."
        ),
    ] = "",
    length: Annotated[
        float | None,
        typer.Option(help="Length of the small model's answer : of the large model's; default: 1.", min=0.001),
    ] = None,
    auroc: Annotated[
        float | None,
        typer.Option(
            help="AUROC of a score of the small model's answer, such as its entropy; default: no score.", min=0.5, max=1
        ),
    ] = None,
    auroc_large: Annotated[
        float | None,
        typer.Option(
            help="AUROC of the same score for the large model being right, among questions alike for the small one; "
            "default: 0.5, which is optimistic.",
            min=0,
            max=1,
        ),
    ] = None,
    early_auroc: Annotated[
        float | None,
        typer.Option(
            help="AUROC of a score before the small model answers, of the question or an insight; default: no score.",
            min=0.5,
            max=1,
        ),
    ] = None,
    auroc_of: Annotated[
        str,
        typer.Option(
            help="What the AUROCs are measured on: right (the small model), or nothing_lost (it is right, or the "
            "large one is wrong)."
        ),
    ] = "right",
    check_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the tasks with a check of the answer; default: 0, or as in the file.", min=0, max=1
        ),
    ] = None,
    check_pass_right: Annotated[
        float | None,
        typer.Option(help="Share of right answers that pass it; default: 0.97, or as in the file.", min=0, max=1),
    ] = None,
    check_pass_wrong: Annotated[
        float | None,
        typer.Option(help="Share of wrong answers that pass it; default: 0.06, or as in the file.", min=0, max=1),
    ] = None,
    trial_cost: Annotated[
        float | None,
        typer.Option(help="Cost of the small model's answer and of judging it; default: of the answer alone.", min=0),
    ] = None,
    scoring_cost: Annotated[
        float | None,
        typer.Option(
            help="Cost of a score before the answer; default: of reading the question, at USD prices, else 0.", min=0
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COST/RIGHT",
            help="Repeatable: cost of an insight up to a stage, and the small model's accuracy with it.",
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option(help="Number of questions that the figures were measured on, for intervals.", min=10)
    ] = None,
    goal: Annotated[float, typer.Option(help="Saving from which the pair pays.", min=0.001, max=0.999)] = 0.05,
    profile: ProfileName = DEFAULT_PROFILE,
    capacity: Annotated[
        bool,
        typer.Option(
            "--capacity", help="Instead of the forecast: pods, GPU memory and tokens a second for rates of requests."
        ),
    ] = False,
    rps: Annotated[
        list[float] | None,
        typer.Option(help="Capacity: requests a second; repeatable, default: 1, 10, 100.", min=0.001),
    ] = None,
    load: Annotated[
        str,
        typer.Option(
            metavar="ASKED/INSIGHT/ANSWER",
            help="Capacity: mean tokens of a request; default: 200, the profile's middle stage, the large model's "
            "answer.",
        ),
    ] = "",
    llm_share: Annotated[
        float, typer.Option(help="Capacity: share of the requests that ask the large model.", min=0.001, max=1)
    ] = 1.0,
    llm_rate: Annotated[
        str,
        typer.Option(
            metavar="IN/OUT",
            help="Capacity: tokens a second that a pod of the large model reads and writes with a full batch; "
            "default: the profile's [rates].",
        ),
    ] = "",
    slm_rate: Annotated[str, typer.Option(metavar="IN/OUT", help="Capacity: the same of the small model.")] = "",
    scorer_rate: Annotated[
        float | None,
        typer.Option(help="Capacity: tokens a second that a scorer reads; default: as the small model.", min=0.001),
    ] = None,
    batch: Annotated[int, typer.Option(help="Capacity: sequences at once in a pod, its maxBatch.", min=1)] = 16,
    utilisation: Annotated[
        float, typer.Option(help="Capacity: how busy a pod may be on average, of 1.", min=0.01, max=0.99)
    ] = 0.7,
    usd_per_million_actions: Annotated[
        float,
        typer.Option(
            help="Capacity: price of a million actions of Temporal Cloud; default: its list price "
            "(docs.temporal.io/cloud/pricing, 2026-11).",
            min=0,
        ),
    ] = 50.0,
    out: Annotated[Path | None, typer.Option(help="Write the map of savings to this SVG file.")] = None,
    json: JsonFlag = False,
) -> None:
    """Will it pay for my pair? The least expected cost at the large model's accuracy, before anything is built.

    Shares are of 1; costs are relative to the large model's own answer. Give typed figures, or a file of `tandem
    collect`.
    """
    if capacity:
        wanted = CapacityOptions(
            tuple(rps or _RATES),
            load,
            llm_share,
            llm_rate,
            slm_rate,
            scorer_rate,
            batch,
            utilisation,
            usd_per_million_actions,
        )
        wanted.show(find_profile(profile), json=json)
        return
    given = Given(
        small=small,
        large=large,
        both=both,
        correlation=correlation,
        price_ratio=price_ratio,
        llm_usd=llm_usd,
        slm_usd=slm_usd,
        tokens=tokens,
        length=length,
        auroc=auroc,
        auroc_large=auroc_large,
        early_auroc=early_auroc,
        auroc_of=auroc_of,
        check_share=check_share,
        check_pass_right=check_pass_right,
        check_pass_wrong=check_pass_wrong,
        trial_cost=trial_cost,
        scoring_cost=scoring_cost,
        stages=tuple(stage or ()),
        n=n,
    )
    with explained():
        from lab.training import payoff_plot
        from lab.training.forecast import forecast

        with working(json) as report:
            report("measuring")
            pair, count, draw = given.measured(files, find_profile(profile)) if files else given.typed()
            report("resampling")
            found = forecast(pair, goal, count, draw)
            if out:
                report("drawing")
                payoff_plot.draw(pair, out)
    promises = find_profile(profile).promises if files else ()
    if json:
        plain = [made.model_dump() | {"is_current": find_profile(profile).keeps(made)} for made in promises]
        print_json({**_plain(found), "promises": plain, "picture": str(out) if out else None})
        return
    _show(found)
    if promises:
        show_promises(find_profile(profile))
    if given.assumes_free_score:
        console.print(
            "--auroc-large 0.5 assumes that the score tells nothing of the large model; 0.53 to 0.58 was measured, "
            "which saves less (docs/plan.md).", style="dim",
        )  # fmt: skip
    if out:
        console.print(f"picture: {out}")


def _plain(found: Forecast) -> dict[str, Any]:
    """The forecast as JSON; every cost and every saving is a share of the large model's cost."""
    plain = asdict(found)
    del plain["pair"]
    return {**plain, "best": found.best.name}


def _show(found: Forecast) -> None:
    print_table(_figures(found))
    console.print(_verdict(found), style="bold")
    rows = Table("policy", "cost", "95 %", "accuracy", box=None)
    for policy in found.policies:
        rows.add_row(
            _POLICIES[policy.name], f"{policy.cost.value:.0%}", _interval(policy.cost), f"{policy.accuracy:.1%}"
        )
    print_table(rows)
    levers = Table("lever", "change", "saves more", box=None)
    for effect in found.effects:
        # Adding 0.0 gives a saving of about nothing one sign.
        levers.add_row(effect.lever, effect.change, f"{round(100 * effect.saving, 1) + 0.0:+.1f} points")
    print_table(levers)
    if found.needs:
        needed = Table(f"to save {found.goal:.0%}, one of", "now", "needed", box=None)
        for need in found.needs:
            needed.add_row(need.lever, f"{need.now:.2f}", _needed(need))
        print_table(needed)


def _figures(found: Forecast) -> Table:
    rows = Table(f"n = {found.n}" if found.n else "no --n, so no intervals", "figure", "95 %", box=None)
    for label, name in _FIGURES.items():
        rows.add_row(label, f"{found.figures[name].value:.2f}", _interval(found.figures[name], 2))
    return rows


def _verdict(found: Forecast) -> str:
    cost = found.best.cost
    at = f"{cost.value:.0%} {_interval(cost)}".rstrip() + " of the large model's cost, at its accuracy"
    if found.pays == "yes":
        return f"It pays: {at}."
    if found.pays == "no":
        return f"It does not pay: {at}, which does not save {found.goal:.0%}."
    return f"Unclear: {at}. More questions would tell."


def _needed(need: Need) -> str:
    return "not by this alone" if need.then is None else f"{need.then:.2f}"


def _interval(estimate: Estimate, digits: int = 0) -> str:
    """Percent, or `digits` decimals; empty if there is none, or if the figure is given."""
    if estimate.interval is None:
        return ""
    low, high = estimate.interval
    if high - low < 1e-9 and digits:
        return ""
    return f"[{low:.{digits}f}, {high:.{digits}f}]" if digits else f"[{100 * low:.0f}, {100 * high:.0f}]"
