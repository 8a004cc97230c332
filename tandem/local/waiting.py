"""Waits for models that another process downloads into a folder that both see."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tandem.local.catalogue import ModelError, catalogue
from tandem.paths import models_folder

_POLL_SECONDS = 1.0


def wait_until_ready(names: Sequence[str], engine: str, seconds: float, report: Callable[[list[str]], None]) -> None:
    """Until `engine` can load every model; `report` gets the names of those that lack. Raises ModelError after `seconds`."""
    give_up, known = time.monotonic() + seconds, catalogue()
    if unknown := [name for name in names if name not in known]:
        raise ModelError(f"{' and '.join(unknown)} cannot be downloaded: the catalogue has {', '.join(known)}")
    while missing := [name for name in names if not known[name].is_ready(engine)]:
        report(missing)
        if time.monotonic() > give_up:
            raise ModelError(
                f"{' and '.join(missing)} did not come into {models_folder()} within {seconds:.0f} s; the log of the command that "
                "downloads says why"
            )
        time.sleep(_POLL_SECONDS)
