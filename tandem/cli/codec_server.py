"""tandem codec-server"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import typer

from tandem.cli.output import JsonFlag, console, print_json
from tandem.paths import REPOSITORY


def codec_server(
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8234,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond this machine it asks for an admin's key.")
    ] = "127.0.0.1",
    origin: Annotated[
        list[str] | None, typer.Option(help="Repeatable: where Temporal's page is; its browser may ask.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Decrypt payloads for Temporal's page and command line, with the keys that TANDEM_PAYLOAD_KEYS names.

    Enter the address in the page's settings, or call `temporal` with --codec-endpoint.
    """
    origins = origin or ["http://127.0.0.1:8233", "http://localhost:8233"]
    address = f"http://{host}:{port}"
    if json:
        print_json({"endpoint": address, "origins": origins})
    else:
        console.print(f"temporal workflow show --codec-endpoint {address} --workflow-id REQUEST", soft_wrap=True)
    values = {"TANDEM_HOST": host, "TANDEM_PORT": str(port), "TANDEM_CODEC_ORIGINS": ",".join(origins)}
    command = [sys.executable, "-m", "services.codec_server"]
    raise typer.Exit(subprocess.run(command, cwd=REPOSITORY, env={**os.environ, **values}, check=False).returncode)
