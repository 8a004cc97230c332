from __future__ import annotations

from typing import Annotated

import typer

from protos.tandem.v1 import tandem_pb2
from tandem.cli.ask import follow as follow_request
from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.view import print_result
from tandem.client import Client
from tandem.results import to_dict

app = typer.Typer(no_args_is_help=True)
RequestId = Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id.")]


@app.command()
def get(request: RequestId, json: JsonFlag = False) -> None:
    """Show a request's state, and its result once it has ended."""
    with Client() as client:
        found = client.get(request)
    if json:
        print_json({**to_dict(found), "result": to_dict(found.result) if found.HasField("result") else None})
        return
    console.print(f"[bold]state[/]    {to_dict(found)['state']}")
    if found.error:
        console.print(f"[bold]error[/]    {found.error}", style="red")
    if found.HasField("result"):
        print_result(console, found.result)


@app.command()
def cancel(request: RequestId, json: JsonFlag = False) -> None:
    """Stop a running request in all services; its bill is kept."""
    with Client() as client:
        reply = to_dict(client.cancel(request))
    if json:
        print_json(reply)
        return
    console.print("cancelled" if reply["state"] == "running" else f"it had ended already: {reply['state']}")


@app.command()
def follow(request: RequestId, json: JsonFlag = False) -> None:
    """Read a request from its start to its end, whether it runs or has ended. Leaving it does not cancel it."""
    with Client() as client:
        follow_request(client, tandem_pb2.SolveRequest(request_id=request, keep_running=True), json)
