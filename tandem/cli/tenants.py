"""tandem tenants"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tandem.access.tenants import LIMITS, LISTS, TenantFile, TenantFileError, shown
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.parts import new_app
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.client.results import to_dict
from tandem.paths import config_folder

app = new_app(no_args_is_help=True)
DEFAULT = "default"
File = Annotated[
    Path | None,
    typer.Option(
        "--file", help="File of the limits; default: TANDEM_TENANTS, else tenants.json in the user's settings."
    ),
]
Tenant = Annotated[str, typer.Argument(help=f"The tenant; `{DEFAULT}`: all without limits of their own.")]


@app.callback()
def tenants() -> None:
    """List, show, set and check what tenants may use, and show what they have used. The gateway reads the file that
    TANDEM_TENANTS names, and sees changes at once.
    """


@app.command("list")
def list_tenants(file: File = None, json: JsonFlag = False) -> None:
    """List all tenants with limits."""
    found = _open(file).read()
    rows = [{"tenant": DEFAULT, **shown(found.default)}]
    rows += [{"tenant": name, **shown(limits)} for name, limits in sorted(found.by_name.items())]
    if json:
        print_json(rows)
        return
    table = Table("tenant", *(name.replace("_", " ") for name in LIMITS), box=None)
    for row in rows:
        table.add_row(row["tenant"], *(_text(row.get(name)) for name in LIMITS))
    print_table(table)


@app.command()
def show(tenant: Tenant, file: File = None, json: JsonFlag = False) -> None:
    """Show the limits that hold for a tenant."""
    found = _open(file).read()
    limits = shown(found.default if tenant == DEFAULT else found.limits(tenant))
    if json:
        print_json({"tenant": tenant, **limits})
        return
    for name in LIMITS:
        console.print(
            Text.assemble(
                (f"{name.replace('_', ' '):<20}", "bold"),
                f" {_text(limits.get(name)) or ('nothing more' if name == 'passes' else 'not limited')}",
            )
        )


@app.command("set")
def set_limits(
    tenant: Tenant,
    limits: Annotated[
        list[str], typer.Argument(metavar="LIMIT=VALUE...", help=f"Of {', '.join(LIMITS)}; `none` takes a limit away.")
    ],
    file: File = None,
    json: JsonFlag = False,
) -> None:
    """Change limits: tandem tenants set acme usd_per_day=5 profiles=fast,exact."""
    changes = dict(_change(each) for each in limits)
    tenant_file = _open(file)
    changed = shown(tenant_file.set("" if tenant == DEFAULT else tenant, changes))
    if json:
        print_json({"tenant": tenant, **changed, "file": str(tenant_file.path)})
        return
    console.print(
        f"{tenant}: {', '.join(f'{name}={_text(value)}' for name, value in changed.items()) or 'not limited'}"
    )
    if not os.environ.get("TANDEM_TENANTS"):
        console.print(f"in {tenant_file.path}; a gateway holds to it with TANDEM_TENANTS={tenant_file.path}")


@app.command()
def used(json: JsonFlag = False) -> None:
    """Show what counts against each limit now: of your tenant, to an admin of all. Running requests count with what
    they may still need.
    """
    with Client() as client:
        found = to_dict(client.tenants())["tenants"]
    if json:
        print_json(found)
        return
    names = list(dict.fromkeys(use["limit"] for each in found for use in each["limits"]))
    table = Table("tenant", *(name.replace("_", " ") for name in names), box=None)
    for each in found:
        uses = {use["limit"]: use for use in each["limits"]}
        table.add_row(each["tenant"] or "-", *(_use(uses[name]) if name in uses else "no limit" for name in names))
    print_table(table)


@app.command()
def check(file: File = None, json: JsonFlag = False) -> None:
    """Check a file before a gateway reads it."""
    tenant_file = _open(file)
    number = len(tenant_file.read().by_name)
    if json:
        print_json({"file": str(tenant_file.path), "tenants": number})
        return
    console.print(f"{tenant_file.path} is right: {number} tenants have limits of their own")


def _open(file: Path | None) -> TenantFile:
    named = os.environ.get("TANDEM_TENANTS")
    return TenantFile(file or (Path(named) if named else config_folder() / "tenants.json"))


def _change(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or name not in LIMITS:
        raise TenantFileError(f"{text!r} is not LIMIT=VALUE; the limits are {', '.join(LIMITS)}")
    if value == "none":
        return name, None
    if name in LISTS:
        return name, [each for each in value.split(",") if each]
    try:
        return name, float(value) if name.startswith("usd") else int(value)
    except ValueError:
        kind = "number" if name.startswith("usd") else "whole number"
        raise TenantFileError(f"{name} is a {kind}, not {value!r}") from None


def _use(use: dict[str, Any]) -> str:
    amount = "{:.6f}" if use["limit"].startswith("usd") else "{:,.0f}"
    used = amount.format(use["used"])
    return used if use["most"] is None else f"{used} of {use['most']:,g}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return (
        (", ".join(value) or "none")
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
