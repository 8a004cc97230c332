"""Options that mean the same in every command that asks models: `tandem ask` and `tandem chat`."""

from __future__ import annotations

from typing import Annotated

import typer

Profile = Annotated[str, typer.Option(help="Pair of models; the gateway's default if not given.")]
Threshold = Annotated[
    list[str] | None,
    typer.Option(help="Score 0..1 at which a stage suffices: VALUE for all stages, or STAGE=VALUE; repeatable."),
]
MaxStage = Annotated[int | None, typer.Option(min=0, help="Last stage that the large model may generate.")]
MaxCost = Annotated[float | None, typer.Option(help="Upper bound of a question's bill, in USD.")]
MaxLlmTokens = Annotated[
    int | None, typer.Option(min=0, help="Upper bound of the tokens that the large model generates for a question.")
]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="Upper bound of an answer's tokens.")]
Temperature = Annotated[float | None, typer.Option(help="0 is greedy, as every model but an API's is by default.")]
TopP = Annotated[float | None, typer.Option(help="Nucleus, in (0, 1].")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the draw.")]
Stop = Annotated[
    list[str] | None,
    typer.Option(help="Text that ends an answer before it, of 1 to 64 characters; repeatable, at most 4."),
]
Tenant = Annotated[str, typer.Option(help="Whom a request is for; `tandem request list` can search by it.")]
Up = Annotated[bool, typer.Option("--up", help="Start the local stack if none is up, and stop it afterwards.")]


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
