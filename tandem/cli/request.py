"""tandem request"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from tandem.cli.ask import follow as follow_request
from tandem.cli.bill import print_result
from tandem.cli.output import JsonFlag, console, dollars, print_json
from tandem.cli.parts import new_app
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.client.results import to_dict, to_dict_or_none
from tandem.v1 import tandem_pb2

app = new_app(no_args_is_help=True)
RequestId = Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id.")]


@app.command()
def get(request: RequestId, json: JsonFlag = False) -> None:
    """Show a request's state, and its result when it has ended."""
    with Client() as client:
        found = client.get(request)
    if json:
        print_json(to_dict_or_none(found, "result"))
        return
    console.print(Text.assemble(("state", "bold"), f"    {to_dict(found)['state']}"))
    if found.error:
        console.print(Text.assemble(("error", "bold"), f"    {found.error}", style="red"))
    if found.HasField("result"):
        print_result(console, found.result)
    if found.HasField("shadow"):
        console.print(_shadow(found.shadow))


@app.command("list")
def list_requests(
    where: Annotated[
        str,
        typer.Option(
            help="Conditions on cost, saved, stage, reason, profile, tenant, state, started, joined by `and` and `or`."
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of requests.")] = 20,
    json: JsonFlag = False,
) -> None:
    """Find requests, newest first: tandem request list --where "cost > 0.01 and stage = 2"."""
    with Client() as client:
        found = [to_dict(request) for request in client.list(where, limit).requests]
    if json:
        print_json(found)
        return
    table = Table(
        Column("request", no_wrap=True),
        "started",
        "state",
        "profile",
        "tenant",
        "stage",
        "reason",
        "USD",
        "saved",
        box=None,
    )
    for row in found:
        started = datetime.fromtimestamp(row["started_at_unix_ms"] / 1000).strftime("%Y-%m-%d %H:%M:%S")
        ended = row["state"] != "running"
        table.add_row(
            row["request_id"],
            started,
            row["state"],
            row["profile"],
            row["tenant"],
            str(row["stage"]) if ended else "",
            row["reason"] if ended else "",
            "" if row["usd"] is None else f"{row['usd']:.8f}",
            "" if row["saved_ratio"] is None else f"{row['saved_ratio']:+.0%}",
        )
    print_table(table, optional=("tenant", "profile", "state", "started"))


@app.command()
def cancel(request: RequestId, json: JsonFlag = False) -> None:
    """Cancel a running request in all services; its bill is kept."""
    with Client() as client:
        reply = to_dict(client.cancel(request))
    if json:
        print_json(reply)
        return
    console.print("cancelled" if reply["state"] == "running" else f"the request had already ended: {reply['state']}")


@app.command()
def delete(request: RequestId, json: JsonFlag = False) -> None:
    """Erase a request that has ended, with its question, answer and bill, everywhere but in traces, which hold no
    text.
    """
    with Client() as client:
        reply = to_dict(client.delete(request))
    if json:
        print_json(reply)
        return
    console.print("deleted; Temporal forgets it within about a minute")


def _shadow(shadow: tandem_pb2.Shadow) -> Text:
    costs = to_dict(shadow)
    verdict = "the same answer" if shadow.agrees else f"another answer, {shadow.answer!r}"
    return Text.assemble(
        ("shadow", "bold"),
        f"   the large model alone gave {verdict} for {dollars(costs['usd'])} (measured, {shadow.output_tokens} "
        f"tokens; paid in addition {dollars(costs['usd_paid'])}); the estimate was {dollars(costs['usd_estimate'])}",
    )


@app.command()
def follow(request: RequestId, json: JsonFlag = False) -> None:
    """Show a request's events from its start to its end. Ctrl-C does not cancel it."""
    with Client() as client:
        follow_request(client, tandem_pb2.SolveRequest(request_id=request, keep_running=True), json)
