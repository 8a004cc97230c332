"""tandem redis"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tandem.access.redis_users import USERS, acl_lines, passwords_in
from tandem.cli.output import JsonFlag, print_json
from tandem.cli.parts import new_app

app = new_app(no_args_is_help=True)


@app.callback()
def redis() -> None:
    """What an operator's Redis has to know."""


@app.command()
def users(
    passwords: Annotated[
        Path,
        typer.Option(help="Folder with the password of each process in a file of its name; what is missing is made."),
    ],
    version: Annotated[
        int, typer.Option(min=6, help="Redis's major version: from 7 on a process cannot write what it only reads.")
    ] = 7,
    json: JsonFlag = False,
) -> None:
    """Print an ACL file with one user for each process, who may do what that process needs: tandem redis users
    --passwords DIR.
    """
    found = passwords_in(passwords)
    lines = acl_lines(found, version)
    if json:
        files = {user.name: str(passwords / user.process) for user in USERS}
        print_json({"acl": lines, "password_files": files})
        return
    for line in lines:
        typer.echo(line)
