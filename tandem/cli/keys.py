"""tandem keys"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from tandem.access.keys import ROLES, ApiKey, KeyFile
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.parts import new_app
from tandem.cli.tables import print_table
from tandem.paths import config_folder

app = new_app(no_args_is_help=True)
File = Annotated[
    Path | None,
    typer.Option("--file", help="File of the keys; default: TANDEM_API_KEYS, else keys.json in the user's settings."),
]


@app.callback()
def keys() -> None:
    """Make, list and revoke API keys. The gateway reads the file that TANDEM_API_KEYS names, and sees changes at
    once.
    """


@app.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Whom the key's requests belong to.")],
    role: Annotated[
        list[str] | None, typer.Option(help=f"Repeatable: {', '.join(ROLES)}, who may act for others.")
    ] = None,
    file: File = None,
    json: JsonFlag = False,
) -> None:
    """Make a key and print it, once: tandem keys create acme."""
    key_file = _open(file)
    key, credential = key_file.create(tenant, role or [])
    if json:
        print_json({**_shown(key), "api_key": credential, "file": str(key_file.path)})
        return
    typer.echo(credential)
    if not os.environ.get("TANDEM_API_KEYS"):
        console.print(f"in {key_file.path}; a gateway accepts it with TANDEM_API_KEYS={key_file.path}")
    console.print("It is not shown again. Clients send it from TANDEM_API_KEY.")


@app.command("list")
def list_keys(file: File = None, json: JsonFlag = False) -> None:
    """List the keys, without their secrets."""
    found = [_shown(key) for key in _open(file).read()]
    if json:
        print_json(found)
        return
    table = Table("key", "tenant", "roles", "created", box=None)
    for key in found:
        table.add_row(key["id"], key["tenant"], " ".join(key["roles"]), key["created_at"])
    print_table(table, optional=("created", "roles"))


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id, as `tandem keys list` shows it.")],
    file: File = None,
    json: JsonFlag = False,
) -> None:
    """Take a key back. Running requests go on; its next call is refused."""
    revoked = _open(file).revoke(key)
    if json:
        print_json(_shown(revoked))
        return
    console.print(f"key {revoked.id} of tenant {revoked.tenant} is revoked")


def _open(file: Path | None) -> KeyFile:
    named = os.environ.get("TANDEM_API_KEYS")
    return KeyFile(file or (Path(named) if named else config_folder() / "keys.json"))


def _shown(key: ApiKey) -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if name != "sha256"}
