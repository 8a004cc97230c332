"""`tandem`: one command for everything a user does. `tandem.entry` calls `main`.

A verb's module is imported when that verb is invoked, so that `tandem --help` is fast and no verb needs the packages of
another.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tandem.cli.defaults import set_defaults, set_variables
from tandem.cli.examples import epilog
from tandem.cli.parts import Verb, needs, never_fail_on_a_character, new_app
from tandem.errors import RequestError, UserError

VERBS = {
    "ask": Verb("Ask a question and watch the two models answer it.", "tandem.cli.ask:ask"),
    "chat": Verb("Talk to the two models.", "tandem.cli.chat:chat"),
    "request": Verb("Show, list, follow, cancel or delete requests.", "tandem.cli.request:app"),
    "outcome": Verb("Say whether a request's answer was right.", "tandem.cli.outcome:outcome"),
    "promises": Verb("Show what outcomes say of what is promised.", "tandem.cli.outcome:promises"),
    "batch": Verb("Ask all questions of a file, within one budget.", "tandem.cli.batch:app"),
    "prices": Verb("Show what models cost at their vendors.", "tandem.cli.prices:prices"),
    "profile": Verb(
        "Make a profile of two endpoints, or check what its endpoints can do.", "tandem.cli.profile:app", "api"
    ),
    "profiles": Verb("List the profiles that the gateway serves.", "tandem.cli.profiles:profiles"),
    "up": Verb("Start the local stack.", "tandem.cli.stack:up", "local"),
    "down": Verb("Stop the local stack.", "tandem.cli.stack:down", "local"),
    "status": Verb("Show each process of the local stack.", "tandem.cli.stack:status", "local"),
    "logs": Verb("Print the logs of the local stack.", "tandem.cli.stack:logs", "local"),
    "models": Verb("Download and list models.", "tandem.cli.models:app", "models"),
    "keys": Verb("Make, list and revoke API keys.", "tandem.cli.keys:app"),
    "tenants": Verb("List, show, set and check what tenants may use.", "tandem.cli.tenants:app"),
    "spend": Verb("Sum up what requests have cost, by tenant and day.", "tandem.cli.spend:spend"),
    "trace": Verb("Show what a request cost, from its trace in Jaeger.", "tandem.cli.trace:app"),
    "check": Verb("Check an installed system with two real requests.", "tandem.cli.check:check"),
    "doctor": Verb("Check this machine and say what to do.", "tandem.cli.doctor:doctor"),
    "version": Verb("Print the versions of Tandem and its main dependencies.", "tandem.cli.version:version"),
}


OF_THE_LAB = ("plan", "collect", "train", "calibrate", "disputes", "eval")
VERBS |= {name: Verb("Needs `make develop` in a checkout.", "tandem-lab:", "lab") for name in OF_THE_LAB}
VERBS |= {entry.name: entry.load() for entry in entry_points(group="tandem.verbs")}
# What `tandem --help` lists: the commands by who uses them.
GROUPS = {
    "Ask": ("ask", "chat", "batch", "request", "outcome", "profiles"),
    "Run it on this machine": ("up", "down", "status", "logs", "models", "doctor", "version"),
    "Choose a pair of models": ("plan", "prices", "profile"),
    "Train its stop rule": ("collect", "train", "calibrate", "eval"),
    "Operate it for others": ("check", "promises", "keys", "tenants", "spend", "trace"),
}


class LazyGroup(TyperGroup):
    """Lists the table above, and imports the module of the one verb that is invoked."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, rows in _groups():
            with formatter.section(title):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:  # a shell completes a word
            return name, command, rest
        with needs(name, VERBS[name].extra):
            return name, _load(name), _with_json_target(rest) if name == "eval" else rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError:  # of an import in the verb's body
            name = ctx.invoked_subcommand
            with needs(name, VERBS[name].extra):
                raise


def _groups() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A verb that is in no group, such as another package's, is in the last one."""
    grouped = {name for names in GROUPS.values() for name in names}
    others = [name for name in VERBS if name not in grouped]
    for title, names in (*GROUPS.items(), ("More", others)):
        if rows := [(name, VERBS[name].help) for name in names if name in VERBS]:
            yield title, rows


def _with_json_target(arguments: list[str]) -> list[str]:
    """`--json` prints, as everywhere; of `tandem eval` it may also name a file."""
    following = [*arguments[1:], "--"]
    return [
        word
        for given, after in zip(arguments, following, strict=True)
        for word in ((given, "-") if given == "--json" and after.startswith("--") else (given,))
    ]


def _load(name: str) -> Any:
    """Return the verb's command, or its group of commands."""
    module, attribute = VERBS[name].target.split(":")
    target = getattr(import_module(module), attribute)
    if isinstance(target, typer.Typer):
        group = typer.main.get_command(target)
        for each, command in group.commands.items():  # type: ignore[attr-defined]
            command.epilog = epilog(f"{name} {each}")
            set_defaults(name, command)
        return group
    single = new_app()
    single.command(name, epilog=epilog(name))(target)
    command = typer.main.get_command(single)
    set_defaults(name, command)
    return command


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from tandem.method.names import DISTRIBUTION

        typer.echo(f"tandem {version(DISTRIBUTION)}")
        raise typer.Exit


app = new_app(
    cls=LazyGroup,
    help="A large and a small language model answer together; the large one stops when its insight suffices.",
    no_args_is_help=True,
    completes=True,
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of `tandem` itself."""


for _name, _verb in VERBS.items():
    app.command(_name, help=_verb.help)(lambda: None)


def main() -> None:
    """Exit codes: 0 success, 1 failure, 2 wrong usage."""
    # On SIGTERM a command cleans up as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tandem.entry had none while this was imported
    never_fail_on_a_character()
    try:
        set_variables()
        app()
    except (UserError, OSError, UnicodeEncodeError) as error:
        from tandem.cli.output import console_error

        console_error(_explain(error))
        is_wrong_usage = isinstance(error, UnicodeEncodeError) or (isinstance(error, RequestError) and error.field)
        sys.exit(2 if is_wrong_usage else 1)


def _explain(error: Exception) -> str:
    """What the system refuses, such as a write to a full disk, is no more a fault of the program than what a user can
    change.
    """
    if isinstance(error, OSError):
        return ": ".join(filter(None, (str(error.filename or ""), error.strerror or str(error))))
    if isinstance(error, UnicodeEncodeError):
        return "an argument or a variable of the environment is no text in UTF-8"  # which may be a key: it is not shown
    if not isinstance(error, RequestError):
        return str(error)
    if error.is_connection_lost:
        return (
            f"no gateway answers ({error}). `tandem up` starts the local stack, or what has ended of it; "
            "TANDEM_ADDRESS names another gateway."
        )
    message = str(error).removesuffix(".") + (f" [{error.field}]." if error.field else ".")
    return f"{message} Retry in {error.retry_after_s:g} s." if error.retry_after_s else message
