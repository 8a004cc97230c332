"""Shared by collect, train, calibrate and eval, whose work is done by the package `training`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tandem.cli.output import console, console_error
from tandem.method.profile.profile import Profile, load_profile
from tandem.paths import REPOSITORY, profile_folders

if TYPE_CHECKING:
    from lab.training.policy import Unit
    from tandem.method.request.plan import Plan

Files = Annotated[
    list[Path], typer.Argument(help="Files written by `tandem collect`, all for one pair.", exists=True, dir_okay=False)
]
FilesOrNone = Annotated[
    list[Path] | None,
    typer.Argument(help="Files written by `tandem collect`, all for one pair.", exists=True, dir_okay=False),
]
StudyFolder = Annotated[Path | None, typer.Option("--study", help="Folder of the study; default: studies/PROFILE.")]
ProfileName = Annotated[str, typer.Option("--profile", help="The pair of models with its prompts and stages.")]


@contextmanager
def explained() -> Iterator[None]:
    """Print an expected error of the training as one sentence, and exit with code 1."""
    from lab.training.errors import TrainingError
    from tandem.errors import SetupError
    from tandem.method.errors import TandemError

    try:
        yield
    except (TrainingError, TandemError, SetupError) as error:
        console_error(str(error))
        sys.exit(1)


def find_profile(name: str) -> Profile:
    """Raises NotFound, InvalidArgument."""
    return load_profile(name, tuple(profile_folders()))


def known_unit(name: str, plan: Plan) -> Unit:
    """A unit of cost that the plan can be counted in. Raises BadParameter."""
    from lab.training.policy import UNITS, must_be_counted

    found = next((unit for unit in UNITS if unit == name), None)
    if found is None:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(UNITS)}", param_hint="--cost")
    try:
        must_be_counted(found, plan)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cost") from error
    return found


def new_study(profile: str) -> Path:
    return Path("studies") / profile


def any_study(profile: str) -> Path:
    """The study of this folder, or the one that was shipped with the profile.

    A folder alone is none: `tandem eval` writes its report into it.
    """
    from lab.training.names import TRAINING

    here = new_study(profile)
    return here if (here / TRAINING).is_file() else REPOSITORY / "lab" / "training" / "studies" / profile


@contextmanager
def working(quiet: bool) -> Iterator[Callable[[str], None]]:
    """What the block does, as it says: a status line on a terminal, else a line each on standard error."""
    if quiet:
        yield lambda text: None
        return
    if not console.is_terminal:
        began = time.monotonic()
        yield lambda text: typer.echo(f"{time.monotonic() - began:.0f} s: {text}", err=True)
        return
    with console.status("") as status:
        yield status.update
