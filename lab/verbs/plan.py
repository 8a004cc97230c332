"""tandem plan"""

from __future__ import annotations

from typing import Annotated

import typer

from tandem.cli.output import JsonFlag, console, print_json

_GOAL = 0.05


def plan(
    small: Annotated[
        float, typer.Option(help="Share of the questions that the small model answers right.", min=0.001, max=0.999)
    ],
    large: Annotated[float, typer.Option(help="Share that the large model answers right.", min=0.001, max=0.999)],
    price_ratio: Annotated[
        float, typer.Option(help="Price of the large model's answer : of the small model's.", min=0.01)
    ],
    check_share: Annotated[
        float, typer.Option(help="Share of the tasks with a check of the answer.", min=0, max=1)
    ] = 0.0,
    auroc: Annotated[
        float, typer.Option(help="AUROC of a score of the small model's answer; 0.5: no score.", min=0.5, max=1)
    ] = 0.5,
    json: JsonFlag = False,
) -> None:
    """Say whether a pair pays: the least expected cost at the large model's accuracy, before anything is built.

    A pair pays that saves 5 % of the cost of the large model's own answers.
    """
    from lab.training.payoff import Pair, least_cost

    cost = least_cost(Pair(small, large, 1 / price_ratio, auroc, check_share))
    pays = cost <= 1 - _GOAL
    if json:
        print_json({"cost": cost, "pays": pays})
        return
    verdict = "It pays" if pays else "It does not pay"
    console.print(f"{verdict}: {cost:.0%} of the large model's cost, at its accuracy.", style="bold")
