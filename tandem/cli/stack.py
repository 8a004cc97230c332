"""tandem up, down, status, logs"""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from tandem.cli.models import pull_missing
from tandem.cli.output import JsonFlag, console, print_json
from tandem.local.layout import PROCESSES, StackError
from tandem.local.supervisor import Stack, open_stack, plan_stack
from tandem.paths import DEFAULT_PROFILE, read_stack, state_folder


def up(
    profile: Annotated[str, typer.Option(help="Pair of models to serve.")] = DEFAULT_PROFILE,
    jaeger: Annotated[
        bool,
        typer.Option(
            "--jaeger",
            help="Export every trace to Jaeger: the one that TANDEM_JAEGER names, else a local binary, else a container.",
        ),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Start the local stack and wait until every process is ready. It runs until `tandem down`."""
    stack = open_stack()
    if stack is None:
        stack = start_stack(profile, quiet=json, jaeger=jaeger)
    elif not json:
        console.print(f"already up with profile {stack.profile}")
    if json:
        print_json({"gateway": stack.gateway, "http": stack.http, "profile": stack.profile, "ports": stack.ports})
    else:
        console.print(f"OpenAI's API at [bold]{stack.http}/v1[/]   its page at {stack.http}/docs", soft_wrap=True)
        console.print(f"gateway at [bold]{stack.gateway}[/]   state in {stack.folder}   `tandem down` stops it")


def down(json: JsonFlag = False) -> None:
    """Stop the local stack and everything it started."""
    was_up = stop_stack(quiet=json)
    if json:
        print_json({"stopped": was_up})


def status(json: JsonFlag = False) -> None:
    """Show each process of the local stack. Exit code 1 unless all are ready."""
    stack = open_stack()
    rows = stack.status() if stack else []
    if json:
        print_json({"up": stack is not None, "processes": [asdict(row) for row in rows]})
    elif stack is None:
        console.print("the local stack is not up; `tandem up` starts it")
    else:
        table = Table("process", "state", "pid", "address", box=None)
        for row in rows:
            colour = {"ready": "green", "starting": "yellow"}.get(row.state, "red")
            table.add_row(row.name, f"[{colour}]{row.state}[/]", str(row.pid or "-"), row.address)
        console.print(table)
    if not rows or any(row.state != "ready" for row in rows):
        raise typer.Exit(1)


def logs(
    process: Annotated[str, typer.Argument(help=f"One of {', '.join(p.name for p in PROCESSES)}; default: all.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines as they are written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last lines of each log.")] = 20,
) -> None:
    """Print the logs of the local stack, also after it has ended."""
    folder = state_folder() / "logs"
    wanted = [process] if process else [p.name for p in PROCESSES]
    present = [str(file) for name in wanted if (file := folder / f"{name}.log").is_file()]
    if not present:
        raise StackError(f"there is no log of {process or 'any process'} in {folder}")
    follow_flag = ["-F"] if follow else []
    try:
        raise typer.Exit(subprocess.run(["tail", *follow_flag, "-n", str(lines), *present]).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def start_stack(profile: str, quiet: bool = False, jaeger: bool = False) -> Stack:
    """Download missing models, start the stack and wait. Nothing is left running after a failure or an interrupt."""
    profile = profile or DEFAULT_PROFILE
    pull_missing(profile, quiet=quiet)
    stack = plan_stack(profile, jaeger=jaeger)
    if quiet:
        stack.up()
        return stack
    with console.status("starting") as display:
        states: dict[str, str] = {}

        def report(name: str, state: str) -> None:
            states[name] = state
            if state == "ready":
                console.print(f"  {name:20} ready   {stack.address(name)}", style="dim")
            waiting = [n for n, s in states.items() if s != "ready"]
            display.update(f"waiting for {', '.join(waiting)}" if waiting else "starting")

        stack.up(report)
    return stack


def stop_stack(quiet: bool = False) -> bool:
    """False when no stack was up."""
    stack = open_stack()
    if stack is None:
        if read_stack():  # its supervisord died, and open_stack found no process that it left
            (state_folder() / "stack.json").unlink(missing_ok=True)
        if not quiet:
            console.print("the local stack is not up")
        return False
    if quiet:
        return stack.down()
    with console.status("stopping"):
        stack.down()
    console.print("local stack stopped", style="dim")
    return True
