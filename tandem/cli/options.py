"""Options that mean the same in every command that asks models: `tandem ask` and `tandem chat`."""

from __future__ import annotations

from typing import Annotated

import typer

from tandem.method.profile.promise import MOST_LOST

Profile = Annotated[str, typer.Option(help="Pair of models; the gateway's default if not given.")]
Threshold = Annotated[
    list[str] | None,
    typer.Option(help="Score 0..1 at which a stage suffices: VALUE for all stages, or STAGE=VALUE; repeatable."),
]
MaxCost = Annotated[float | None, typer.Option(help="Upper bound of a question's bill, in USD.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Upper bound of an answer's tokens.")]
Temperature = Annotated[float | None, typer.Option(help="0 is greedy, as every model but an API's is by default.")]
Tenant = Annotated[str, typer.Option(help="Whom a request is for; `tandem request list` can search by it.")]
Up = Annotated[bool, typer.Option("--up", help="Start the local stack if none is up, and stop it afterwards.")]


def share(text: str) -> float:
    """A share as `3%` or `0.03`. Raises BadParameter."""
    number, is_percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if is_percent else 1)
    except ValueError:
        value = 0.0
    if rest.strip() or not 0 < value <= MOST_LOST:
        raise typer.BadParameter(f"{text!r} is no share: give 3%, or 0.03, {MOST_LOST:.0%} at most")
    return value


def thresholds(values: list[str] | None) -> tuple[float | None, dict[int, float]]:
    """That of all stages, and those of single ones. Raises BadParameter."""
    every, single = None, {}
    for value in values or []:
        stage, is_single, number = value.rpartition("=")
        try:
            if is_single:
                single[int(stage)] = float(number)
            else:
                every = float(number)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is neither VALUE nor STAGE=VALUE", param_hint="--threshold") from None
    return every, single
