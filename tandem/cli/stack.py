"""tandem up, down, status, logs"""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from tandem.cli.models import pull_missing
from tandem.cli.options import share
from tandem.cli.output import JsonFlag, console, console_note, print_json
from tandem.cli.promise import promise_of
from tandem.cli.tables import print_table
from tandem.local import planning
from tandem.local.layout import LOCAL_PROCESSES, PROCESSES, StackError, engine_name
from tandem.local.planning import open_stack, require_promise, require_same
from tandem.local.supervisor import EVERY, ProcessStatus, Report, Stack
from tandem.method.errors import TandemError
from tandem.method.profile.profile import load_profile
from tandem.paths import DEFAULT_PROFILE, profile_folders, read_stack, state_folder

HTTP_PORT = next(process.ports["main"] for process in PROCESSES if process.name == "http-gateway")


def up(
    profile: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Pair of models to serve; default: {DEFAULT_PROFILE}. May be repeated: one stack serves all of them, "
            "the first one where a request names none; models of one pair at most may run on this machine."
        ),
    ] = None,
    large: Annotated[
        str,
        typer.Option(
            help="Instead of a profile, the large model's endpoint: openai:MODEL, anthropic:MODEL, "
            "http://HOST:PORT/v1#MODEL ..."
        ),
    ] = "",
    small: Annotated[
        list[str] | None,
        typer.Option(
            help="With it the small model's, in the same forms; repeated, a further small model's, which tries where "
            "those before it did not pass."
        ),
    ] = None,
    jaeger: Annotated[
        bool,
        typer.Option(
            "--jaeger",
            help="Export every trace to Jaeger: the one that TANDEM_JAEGER names, else a local binary, else a "
            "container.",
        ),
    ] = False,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls", help="Encrypt what the processes say to each other, with certificates made for this run."
        ),
    ] = False,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help=f"The HTTP gateway's port, as agents have it in their configuration; an error where it is taken. "
            f"Default: {HTTP_PORT}, or another where that is taken.",
        ),
    ] = None,
    lose_at_most: Annotated[
        float | None,
        typer.Option(
            parser=share,
            metavar="SHARE",
            help="Learn from the requests which of them the small models may answer: of each kind at most this share, "
            "as 3%, is lost. It begins with the large model alone (docs/promise.md).",
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Start the local stack and wait until every process is ready. It runs until `tandem down`.

    Where it runs already, what has ended is started again.
    """
    served = list(dict.fromkeys(profile or [""]))
    if large or small:
        from tandem.cli.profile import pair_profile

        if len(served) > 1:
            raise typer.BadParameter(
                "endpoints are those of one pair: write its profile first, with `tandem profile "
                "new`, then name each by --profile",
                param_hint="--large",
            )
        served = [pair_profile(served[0], large, small or (), quiet=json)]
    elif not json:
        for pair in served:
            _say_losses(pair)
    require_promise(served, lose_at_most)
    stack = open_stack()
    if stack is None:
        stack = start_stack(*served, quiet=json, jaeger=jaeger, tls=tls, http_port=http_port, lose_at_most=lose_at_most)
        if not json and stack.ports["http-gateway"]["main"] not in (HTTP_PORT, http_port):
            console_note(f"port {HTTP_PORT} is taken, so the HTTP port has moved; --http-port N fixes one")
    else:
        require_same(stack, served, jaeger=jaeger, tls=tls, http_port=http_port, lose_at_most=lose_at_most)
        start_missing(stack, quiet=json)
    if json:
        served_by = {"gateway": stack.gateway, "http": stack.http, "profile": stack.profile, "profiles": stack.pairs}
        print_json({**served_by, "ports": stack.ports})
    else:
        console.print(Text.assemble("watch at ", (stack.http, "bold"), f"   OpenAI's API at {stack.http}/v1"))
        where = f"   state in {stack.folder}   `tandem down` stops it"
        console.print(Text.assemble("gateway at ", (stack.gateway, "bold"), where))
        for pair in stack.pairs:
            if said := promise_of(pair, lose_at_most):
                console.print(said)
        if stack.tls:
            where = f"Temporal at {stack.address('temporal')}"
            console.print(Text(f"{where} is open to anyone on this machine: its development server asks nobody"))


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
        print_table(_table(rows))
        for row in rows:
            if row.exits:
                console.print(_history(row), style="yellow")
    if not rows or any(row.state != "ready" for row in rows):
        raise typer.Exit(1)


def logs(
    process: Annotated[
        str, typer.Argument(help=f"One of {', '.join(p.name for p in LOCAL_PROCESSES)}; default: all.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines as they are written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Number of last lines of each log.")] = 20,
    json: JsonFlag = False,
) -> None:
    """Print the logs of the local stack, also after it has ended."""
    if json and follow:
        raise typer.BadParameter("--json prints what there is: leave out --follow", param_hint="--json")
    folder = state_folder() / "logs"
    wanted = [process] if process else [file.stem for file in sorted(folder.glob("*.log"))]
    present = {name: str(file) for name in wanted if (file := folder / f"{name}.log").is_file()}
    if not present:
        raise StackError(f"there is no log of {process or 'any process'} in {folder}")
    if json:
        print_json({name: _last_lines(file, lines) for name, file in present.items()})
        return
    command = ["tail", *(["-F"] if follow else []), "-n", str(lines), *present.values()]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as tail:
            for line in tail.stdout or ():
                console.write(line, end="")
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    raise typer.Exit(tail.returncode)


def _last_lines(file: str, count: int) -> list[str]:
    return Path(file).read_text(errors="replace").splitlines()[-count:] if count else []


def _say_losses(profile: str) -> None:
    """What is lost with the endpoints of a profile, as it says; nothing of models that run here. An unknown profile is
    not its business.
    """
    try:
        known = load_profile(profile or DEFAULT_PROFILE, tuple(profile_folders()))
    except TandemError:
        return
    from tandem.cli.profile import say_losses

    for model in known.models.values():
        if model.api is not None:
            console.print(Text.assemble((model.name, "bold"), f"   {model.api.url}"))
    say_losses([model.api.can.losses() if model.api else [] for model in known.models.values()])


def start_stack(
    *pairs: str,
    quiet: bool = False,
    jaeger: bool = False,
    tls: bool = False,
    http_port: int | None = None,
    lose_at_most: float | None = None,
    needed: Collection[str] = EVERY,
) -> Stack:
    """Download missing models, start the stack of these pairs and wait for the processes of `needed`; an empty name is
    the default pair's. Nothing is left running after a failure or an interrupt.
    """
    first, *others = (pair or DEFAULT_PROFILE for pair in pairs)
    planning.require_one_pair_here((first, *others))
    for pair in (first, *others):
        pull_missing(pair, engine_name(), quiet=quiet)
    with _reporting(quiet) as report:
        return planning.start_stack(
            first,
            further_pairs=others,
            jaeger=jaeger,
            tls=tls,
            http_port=http_port,
            lose_at_most=lose_at_most,
            report=report,
            needed=needed,
        )


def start_missing(stack: Stack, quiet: bool = False) -> None:
    """Start what has ended, and wait. Raises StackError."""
    missing = [row.name for row in stack.status() if row.state not in ("ready", "starting")]
    if not quiet:
        what = f"; starting {', '.join(missing)}" if missing else ""
        console.print(f"already up with profile {', '.join(stack.pairs)}{what}")
    with _reporting(quiet or not missing) as report:
        stack.start_missing(report)


@contextmanager
def _reporting(quiet: bool) -> Iterator[Report]:
    """Names each process that is ready, and those that are waited for."""
    if quiet:
        yield lambda _: None
        return
    with console.status("starting") as display:
        waiting: dict[str, None] = {}

        def report(row: ProcessStatus) -> None:
            if row.state == "ready":
                waiting.pop(row.name, None)
                console.print(f"  {row.name:20} ready   {row.address}", style="dim")
            else:
                waiting[row.name] = None
            display.update(f"waiting for {', '.join(waiting)}" if waiting else "starting")

        yield report


def _table(rows: list[ProcessStatus]) -> Table:
    table = Table("process", "state", "pid", "address", box=None)
    for row in rows:
        colour = {"ready": "green", "starting": "yellow", "restarting": "yellow"}.get(row.state, "red")
        table.add_row(row.name, Text(row.state, colour), str(row.pid or "-"), row.address)
    return table


def _history(row: ProcessStatus) -> str:
    advice = "" if row.pid or row.state == "restarting" else "; `tandem up` starts it again"
    return f"{row.name} ended {row.times_ended}, last with: {row.last_exit}{advice} (`tandem logs {row.name}`)"


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
