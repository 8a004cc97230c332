"""A file that is read again when it changes, as mounted secrets and config maps do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from tandem.errors import UserError

logger = logging.getLogger(__name__)
T = TypeVar("T")


class WatchedFile(Generic[T]):
    """What `read` makes of `path`, and of `others` where it needs several. The first read raises what `read` raises, a
    UserError; later ones keep what there was.
    """

    def __init__(self, path: Path, read: Callable[[], T], what: str, others: Sequence[Path] = ()) -> None:
        self._paths, self._read, self._what = (path, *others), read, what
        self._state = self._state_now()
        self._value = read()

    @property
    def value(self) -> T:
        """Return the file's value as it is now; as it was where it cannot be read, which is tried again when it
        changes.
        """
        if (state := self._state_now()) != self._state:
            self._state = state
            try:
                self._value = self._read()
                logger.info("%s were read again", self._what)
            except UserError as error:
                logger.error("%s stay as they were: %s", self._what, error)
        return self._value

    def _state_now(self) -> tuple[tuple[int, int, int], ...]:
        return tuple(_state_of(path) for path in self._paths)


def _state_of(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()  # of what a link names: Kubernetes replaces a secret's files by a link
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)
