"""What an answer may do as a user: nothing that root may, and as little as can be that the service's user may."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from services.answer_checker.sandbox import kernel

_NOBODY = 65534
_READ_EVERYTHING = 2  # CAP_DAC_READ_SEARCH


def give_up_rights(needed: Iterable[str]) -> None:
    """Root becomes nobody, and every capability is dropped, so that no file on the machine is this process's own. Raises OSError.

    Where some of Python's folders, `needed`, are private to root, nobody keeps the capability to read what others may not; landlock
    or namespaces say what that is. Root stays root, without capabilities, where it may not become another user or lacks that one: in
    a user namespace or a container. The other layers then hold it as they hold an ordinary user.
    """
    kept = 0
    if os.geteuid() == 0:
        is_private = sys.platform == "linux" and not all(map(_is_open_to_all, needed))
        kept = _kept_as_nobody(is_private=is_private)
    if sys.platform == "linux":
        kernel.drop_capabilities(kept)


def _kept_as_nobody(*, is_private: bool) -> int:
    """Become nobody, if that is possible; the set of capabilities to keep."""
    if is_private and not kernel.has_capability(_READ_EVERYTHING):
        return 0
    try:
        _become_nobody(with_capabilities=is_private)
    except OSError:
        return 0
    return 1 << _READ_EVERYTHING if is_private else 0


def _become_nobody(*, with_capabilities: bool) -> None:
    if with_capabilities:
        kernel.keep_capabilities()
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)


def _is_open_to_all(folder: str) -> bool:
    """Whether every user may read it: root's own installation of Python is not."""
    return all(parent.stat().st_mode & 0o001 for parent in (Path(folder), *Path(folder).parents))
