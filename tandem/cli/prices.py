"""tandem prices"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.tables import print_table
from tandem.endpoints.price_list import SOURCE, ListPrice, PriceListError, download, own_file, price_list, write

_SHOWN = 40


def prices(
    model: Annotated[str, typer.Argument(help="A model's name, or a part of one; default: all.")] = "",
    update: Annotated[
        bool, typer.Option("--update", help="Download today's list into the user's folder first.")
    ] = False,
    source: Annotated[str, typer.Option("--from", help="Where --update downloads it.")] = SOURCE,
    json: JsonFlag = False,
) -> None:
    """Show what models cost at their vendors: LiteLLM's price list. Exit code 1 where it has no such model."""
    if update:
        fresh = download(source)
        write(fresh, own_file(), source)
        price_list.cache_clear()
        if not json:
            console.print(f"{len(fresh.prices)} prices in {own_file()}", style="dim")
    known = price_list()
    exact = known.find(model)
    found = [exact] if exact else known.like(model)
    if not found:
        raise PriceListError(
            f"the list {known.version} has no price of {model!r}: its requests cost null, not 0, until you give one; "
            "`tandem prices --update` downloads today's list"
        )
    if json:
        print_json({"version": known.version, "prices": [asdict(price) for price in found]})
        return
    table = Table("model", "input", "cached", "cache write", "for an hour", "output", "context", box=None)
    for price in found[:_SHOWN]:
        amounts = (price.input, price.cached_input, price.cache_write, price.cache_write_hour, price.output)
        table.add_row(price.model, *map(_amount, amounts), _limit(price))
    print_table(table, optional=("context", "for an hour", "cache write"))
    more = f"; {len(found) - _SHOWN} more: name a part of the model's name" if len(found) > _SHOWN else ""
    console.print(f"USD per million tokens, list {known.version}{more}", style="dim")


def _amount(usd: float | None) -> str:
    return "–" if usd is None else f"{usd:g}"


def _limit(price: ListPrice) -> str:
    return "–" if price.max_input_tokens is None else f"{price.max_input_tokens:,}"
