"""What every verb is built on: apps of one style, and a check of what the installation lacks."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer

from tandem.errors import MissingParts
from tandem.paths import REPOSITORY, is_checkout


@dataclass(frozen=True, slots=True)
class Verb:
    """`target` is `module:attribute`. `extra`: the verb needs the repository, and this extra or the lab."""

    help: str
    target: str
    extra: str = ""


def new_app(*, completes: bool = False, **options: Any) -> typer.Typer:
    """Return a Typer app without boxes around its help; `completes`: with the options that install shell completion."""
    return typer.Typer(
        add_completion=completes,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


def never_fail_on_a_character() -> None:
    """A terminal or file that is not UTF-8 shows what it cannot encode as a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextmanager
def needs(command: str, extra: str) -> Iterator[None]:
    """Raises MissingParts outside a checkout, and where an import inside fails. `extra` is empty for the client's
    own.
    """
    if extra and not is_checkout():
        raise MissingParts(
            f"`tandem {command}` needs a checkout of the repository, and only the client is installed: clone the "
            f"repository, run `make {_target(extra)}` in it, then `.venv/bin/tandem {command}`"
        )
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not extra or (REPOSITORY / package).is_dir():
            raise  # a fault of ours, not of the installation
        with_pip = "" if extra == "lab" else f", or `pip install -e '.[{extra}]'` there"
        raise MissingParts(
            f"`tandem {command}` needs the package {package}: run `make {_target(extra)}` in {REPOSITORY}{with_pip}"
        ) from error


def _target(extra: str) -> str:
    """Return the target of the Makefile that installs the extra, or the lab."""
    return "develop" if extra == "lab" else "setup"
