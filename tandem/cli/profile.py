"""tandem profile"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from tandem.cli.output import JsonFlag, console, console_note, print_json
from tandem.cli.parts import new_app
from tandem.endpoints.address import Address, parse
from tandem.endpoints.probe import Found, probe
from tandem.endpoints.profile import Role, pair_name, parse_prices, write_profile
from tandem.endpoints.requests import EndpointError
from tandem.errors import UserError
from tandem.local.catalogue import catalogue
from tandem.method.errors import TandemError
from tandem.method.profile.profile import Model, Profile, load_profile
from tandem.method.roles import MODEL_ROLES, title
from tandem.paths import own_profiles, profile_folders

app = new_app(no_args_is_help=True)

Large = Annotated[
    str,
    typer.Option(
        "--large",
        help="The large model: openai:MODEL, responses:MODEL, anthropic:MODEL, openrouter:MODEL, "
        "http://HOST:PORT/v1#MODEL, llamacpp:FILE.gguf or hf:REPOSITORY.",
    ),
]
Small = Annotated[
    list[str] | None,
    typer.Option(
        "--small",
        help="The small model, in the same forms. A repeated one names a further small model, which tries where the "
        "answers of those before it do not pass.",
    ),
]
LargeKey = Annotated[
    str,
    typer.Option(
        "--large-key",
        help="Where its key is: the name of a variable, or file:PATH. Default: the vendor's usual variable.",
    ),
]
SmallKey = Annotated[list[str] | None, typer.Option("--small-key", help="The same for each --small, in their order.")]
LargePrice = Annotated[
    str,
    typer.Option(
        "--large-price", help="USD per million tokens, INPUT[/CACHED[/CACHE WRITE]]/OUTPUT. Default: the vendor's."
    ),
]
SmallPrice = Annotated[
    list[str] | None, typer.Option("--small-price", help="The same for each --small, in their order.")
]


@app.command("new")
def new_profile(
    large: Large = "",
    small: Small = None,
    name: Annotated[str, typer.Option(help="Default: both models' names.")] = "",
    large_key: LargeKey = "",
    small_key: SmallKey = None,
    large_price: LargePrice = "",
    small_price: SmallPrice = None,
    json: JsonFlag = False,
) -> None:
    """Ask the endpoints what they can do, and write a profile with their prices, prompts and limits. Asks
    for what is not given.
    """
    large = large or typer.prompt("Large model (such as anthropic:MODEL)")
    small = small or [typer.prompt("Small model (such as http://127.0.0.1:8080/v1#MODEL)")]
    given = [(large, large_key, large_price)]
    given += list(zip_longest(small, small_key or (), small_price or (), fillvalue=""))
    roles = _found_roles([(parse(text, key), price) for text, key, price in given], quiet=json)
    name = name or pair_name(*(role.address for role in roles))
    file = own_profiles() / name / "profile.toml"
    if file.exists():
        raise UserError(f"there is a profile {name} already, in {file}: give --name, or delete it")
    written = made_profile(name, *roles)
    if json:
        print_json({"profile": name, "file": str(written), **{r.address.name: _findings(r) for r in roles}})
    else:
        console.print(f"wrote {written}; `tandem up --profile {name}` serves it")


@app.command("check")
def check_profile(
    profile: Annotated[str, typer.Argument(help="Name of the profile.")],
    json: JsonFlag = False,
) -> None:
    """Ask a profile's endpoints again what they can do. Exit code 1 where one does not answer, or can no longer what
    the profile says.
    """
    try:
        known = load_profile(profile, tuple(profile_folders()))
    except TandemError as error:
        raise UserError(str(error)) from error
    rows = [_checked(title(role).removesuffix(" small"), model) for role, model in known.models.items()]
    for at, model in enumerate(known.small):
        rows[1 + at]["losses"] += kinships(model, known.small[:at])
    if json:
        print_json({"profile": profile, "ok": all(row["ok"] for row in rows), "models": rows})
    else:
        for row in rows:
            _show(row)
        _show_prices(known)
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


def kinships(model: Model, others: Sequence[Model]) -> list[str]:
    """Say where the model shares a family with one of the `others`, and what that costs (docs/pairs.md)."""
    entries = catalogue()
    named = {each.name: each.family or entries[each.name].family for each in (model, *others) if each.name in entries}
    family = named.get(model.name) or model.kin
    return [
        f"{each.name} is of the family {family} as well: they err alike, and of the answers that two of one family "
        "give alike 4.6 % are lost, of two families 2.0 %"
        for each in others
        if (named.get(each.name) or each.kin) == family
    ]


def pair_profile(name: str, large: str, small: Sequence[str], *, quiet: bool) -> str:
    """Return the profile's name. The endpoints are asked what they can do. Raises EndpointError, AddressError,
    UserError.
    """
    if not large or not small:
        raise typer.BadParameter("give both --large and --small", param_hint="--small" if large else "--large")
    addresses = [parse(text) for text in (large, *small)]
    name = name or pair_name(*addresses)
    roles = _found_roles([(address, "") for address in addresses], quiet=quiet)
    file = own_profiles() / name / "profile.toml"
    if not file.is_file():
        made_profile(name, *roles)
        if not quiet:
            console.print(f"wrote {file}", style="dim")
        return name
    try:
        known = load_profile(name, (own_profiles(),))
    except TandemError as error:
        raise UserError(str(error)) from error
    if len(roles) != len(known.models):
        has = f"has {len(known.small)} small model{'s' * (len(known.small) > 1)}"
        raise UserError(f"profile {name} {has}: give --profile another name")
    for role, model in zip(roles, known.models.values(), strict=True):
        _require_same(name, role, model)
    return name


def _found_roles(given: Sequence[tuple[Address, str]], *, quiet: bool) -> list[Role]:
    """Raises EndpointError, AddressError."""
    roles = [_found_role(address, price, quiet=quiet) for address, price in given]
    if not quiet:
        say_losses([role.found.can.losses() if role.found else [] for role in roles])
    return roles


def say_losses(losses: Sequence[Sequence[str]]) -> None:
    """What is lost with the large model and the small ones, in order: each loss once, under those that it is true
    of.
    """
    groups: dict[str, list[str]] = {}
    for loss in dict.fromkeys(chain(*losses)):
        whose = [f"the {label}" for label, own in zip(map(title, MODEL_ROLES), losses, strict=False) if loss in own]
        groups.setdefault(" and ".join(whose), []).append(loss)
    for names, lost in groups.items():
        console.print(f"lost with {names} model:")
        for loss in lost:
            console.print(f"  {loss}", style="dim")


def _found_role(address: Address, price: str, *, quiet: bool) -> Role:
    """Raises EndpointError, AddressError."""
    found = probe(address.api, tell=console_note) if address.api else None
    role = Role(address, found, parse_prices(price) if price else None)
    if not quiet:
        _say(role)
    return role


def made_profile(name: str, large: Role, *small: Role) -> Path:
    """The written profile; a GGUF file is put among the models."""
    for role in (large, *small):
        if role.address.file is not None:
            from tandem.local.models import adopt

            adopt(role.address.name, role.address.file)
    return write_profile(own_profiles(), name, large, *small)


def _say(role: Role) -> None:
    prices, source = role.price
    cost = (
        f"${prices.input:g} / ${prices.output:g} per million tokens ({source})"
        if prices
        else "no known price: its bills are null"
    )
    console.print(Text.assemble((role.address.name, "bold"), f"   {cost}"))


def _checked(role: str, model: Model) -> dict[str, Any]:
    row: dict[str, Any] = {"role": role, "model": model.name, "url": model.api.url if model.api else None}
    if model.api is None:
        return {**row, "ok": True, "fault": "", "can": None, "losses": []}
    try:
        found: Found = probe(model.api, tell=console_note)
    except EndpointError as error:
        return {**row, "ok": False, "fault": str(error), "can": None, "losses": []}
    told, now = model.api.can.model_dump(), found.can.model_dump()
    changed = [f"{name} is {now[name]}, the profile says {told[name]}" for name in now if now[name] != told[name]]
    can = now | {"handoff": found.can.handoff, "scorers": list(found.can.scorers), "cut_bill": found.can.cut_bill}
    return {**row, "ok": not changed, "fault": "; ".join(changed), "can": can, "losses": found.can.losses()}


def _show(row: dict[str, Any]) -> None:
    mark = ("ok", "green") if row["ok"] else ("no", "red")
    console.print(Text.assemble(mark, f"  {row['role']:6} {row['model']}   {row['url'] or 'runs on this machine'}"))
    if row["fault"]:
        console.print(f"      {row['fault']}", style="red")
    for name, value in (row["can"] or {}).items():
        shown = ", ".join(value) if isinstance(value, list) else value
        console.print(f"      {name:18} {shown}", style="dim")
    for loss in row["losses"]:
        console.print(f"      {loss}", style="yellow")


def _show_prices(profile: Profile) -> None:
    if unknown := profile.prices.unknown:
        console_note(
            f"no price is known of {' and '.join(unknown)}: bills with them are null, and no budget in USD is taken"
        )


def _findings(role: Role) -> dict[str, Any] | None:
    return role.found.can.model_dump() if role.found else None


def _require_same(name: str, role: Role, model: Model) -> None:
    """The profile may be changed by hand, and its model's abilities may have changed since."""
    if _place(role.address) != ((model.api.url, model.api.model) if model.api else None):
        raise UserError(f"profile {name} is of another endpoint than {role.address.name}: give --profile another name")
    if model.api and role.found and model.api.can != role.found.can:
        console_note(f"{model.name} can other things than profile {name} says: see `tandem profile check {name}`")


def _place(address: Address) -> tuple[str, str] | None:
    return (address.api.url, address.api.model) if address.api else None
