"""On PYTHONPATH: a Python in which the modules of TANDEM_TESTS_MISSING (names, separated by commas) are not
installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class Missing(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r} here", name=fullname)
        return None


sys.meta_path.insert(0, Missing(os.environ.get("TANDEM_TESTS_MISSING", "").split(",")))
