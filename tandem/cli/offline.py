"""What collect, train, calibrate and eval share. What they do lives in `training`, which needs its extra."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tandem.cli.output import console, console_error
from tandem.method.profile import Profile, load_profile
from tandem.paths import REPOSITORY, profile_folders

_EXTRA = "this needs the extra 'training': uv sync --extra training, or pip install 'tandem[training]'"
Files = Annotated[
    list[Path], typer.Argument(help="Files of `tandem collect`, all of one pair.", exists=True, dir_okay=False)
]
StudyFolder = Annotated[
    Path | None, typer.Option("--study", help="The folder of the study; studies/PROFILE if not given.")
]
ProfileName = Annotated[str, typer.Option("--profile", help="The pair, its prompts and stages.")]


@contextmanager
def explained() -> Iterator[None]:
    """A missing extra and what the training refuses, in a sentence. Exit code 1."""
    try:
        from tandem.method.errors import TandemError
        from training.datasets import DatasetError
        from training.store import StoreError
        from training.study import StudyError
        from training.train import TooFew
    except ImportError:
        console_error(_EXTRA)
        sys.exit(1)
    try:
        yield
    except (DatasetError, StoreError, StudyError, TooFew, TandemError) as error:
        console_error(str(error))
        sys.exit(1)


def find_profile(name: str) -> Profile:
    """Raises NotFound, InvalidArgument."""
    return load_profile(name, tuple(profile_folders()))


def new_study(profile: str) -> Path:
    return Path("studies") / profile


def any_study(profile: str) -> Path:
    """One that was made here, or the one that the profile was shipped with."""
    here = new_study(profile)
    return here if here.is_dir() else REPOSITORY / "training" / "studies" / profile


@contextmanager
def working(quiet: bool) -> Iterator[Callable[[str], None]]:
    """A line that says what goes on, for as long as it does."""
    if quiet:
        yield lambda told: None
        return
    with console.status("") as status:
        yield status.update
