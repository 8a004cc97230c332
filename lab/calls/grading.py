"""Whether calls are right, by the rules of the Berkeley Function Calling Leaderboard: those of its own package,
bfcl-eval.

The package is a development dependency without what it requires for its own runs. Its checker asks a table of all
models that it knows only whether a model writes dots in names as underscores, and that table needs a client of each
vendor: another table stands in for it.
No file of its data is read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

from lab.calls.tasks import CallTask
from lab.training.errors import DatasetError
from tandem.method.tools import Call

_TABLE = "bfcl_eval.constants.model_config"
_WRITES_DOTS = "tandem"


def is_right(task: CallTask, calls: Sequence[Call]) -> bool:
    """Where no function fits, no call is right. Raises DatasetError without the package."""
    if not task.answer:
        return not calls
    try:
        written = [{name: json.loads(arguments)} for name, arguments in calls]
    except (ValueError, RecursionError):
        return False
    if not all(isinstance(arguments, dict) for call in written for arguments in call.values()):
        return False
    check, python = _rules()
    found = check(list(task.functions), written, list(task.answer), python, task.category, _WRITES_DOTS)
    return bool(found["valid"])


@cache
def _rules() -> tuple[Callable[..., dict[str, Any]], Any]:
    """The leaderboard's checker, and its name for the language of the calls."""
    table = ModuleType(_TABLE)
    table.__dict__["MODEL_CONFIG_MAPPING"] = {_WRITES_DOTS: SimpleNamespace(underscore_to_dot=False)}
    sys.modules.setdefault(_TABLE, table)
    try:
        from bfcl_eval.constants.enums import Language
        from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker
    except ImportError as error:
        raise DatasetError(f"calls are graded by the package bfcl-eval: run `make develop` ({error})") from error
    return ast_checker, Language.PYTHON
