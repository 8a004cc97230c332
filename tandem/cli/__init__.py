"""`tandem`: one command for everything a user does. `main` is its entry point."""

from __future__ import annotations

import signal
import sys

import typer

from tandem.cli import (
    ask,
    bench,
    calibrate,
    check,
    collect,
    doctor,
    evaluate,
    models,
    profiles,
    request,
    stack,
    trace,
    train,
    version,
)
from tandem.cli.output import console_error
from tandem.errors import RequestError
from tandem.jaeger import TraceError
from tandem.local.models import ModelError
from tandem.local.stack import StackError

app = typer.Typer(
    help="A large and a small language model answer together; the large one stops when its insight suffices.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask")(ask.ask)
app.add_typer(request.app, name="request", help="Look at, cancel or follow one request.")
app.command("profiles")(profiles.profiles)
app.command("up")(stack.up)
app.command("down")(stack.down)
app.command("status")(stack.status)
app.command("logs")(stack.logs)
app.add_typer(models.app, name="models", help="Get the models that profiles name.")
app.add_typer(trace.app, name="trace", help="Read a request's cost out of Jaeger.")
app.command("collect")(collect.collect)
app.command("train")(train.train)
app.command("calibrate")(calibrate.calibrate)
app.command("eval")(evaluate.evaluate)
app.command("bench")(bench.bench)
app.command("check")(check.check)
app.command("doctor")(doctor.doctor)
app.command("version")(version.version)


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 wrong usage."""
    # A terminated command cleans up as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        app()
    except RequestError as error:
        console_error(_explain(error))
        sys.exit(2 if error.field else 1)
    except (StackError, ModelError, TraceError) as error:
        console_error(str(error))
        sys.exit(1)


def _explain(error: RequestError) -> str:
    if error.is_connection_lost:
        return (
            f"no gateway answers ({error}). `tandem up` starts the local stack; TANDEM_ADDRESS names another gateway."
        )
    where = f" [{error.field}]" if error.field else ""
    again = f" Try again in {error.retry_after_s:g} s." if error.retry_after_s else ""
    return f"{error}{where}.{again}" if not str(error).endswith(".") else f"{error}{where}{again}"
