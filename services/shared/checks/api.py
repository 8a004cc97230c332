"""A check, as a built-in or somebody's own package defines it (docs/add-a-check.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tandem.method.conversation import TASKS, Task
from tandem.method.evidence.checks import Verdict


@dataclass(frozen=True, slots=True)
class Compared:
    """What a check says. `detail` is read by the model that has to correct itself; `score` is the share that held,
    0..1.
    """

    verdict: Verdict
    detail: str = ""
    score: float = 0.0


def passed(detail: str = "") -> Compared:
    return Compared(Verdict.PASS, detail, 1.0)


def failed(detail: str, score: float = 0.0) -> Compared:
    return Compared(Verdict.FAIL, detail, score)


def unknown(detail: str) -> Compared:
    return Compared(Verdict.UNKNOWN, detail)


Compare = Callable[[str, str, str], Compared]
"""(question, answer, argument) -> Compared. It runs in a process of its own, with no network and a limit of time."""


def _anything(argument: str) -> None:
    """Every argument is good."""


def needs_argument(question: str, argument: str) -> bool:
    return bool(argument.strip())


def _always(question: str, argument: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Check:
    """`validate(argument)` raises ValueError; `applies(question, argument)`: whether there is anything to compare with.

    Both are quick and pure: the gateway calls them before a request begins. `tasks` are those whose answers it can
    read.
    Without `compare` it is the answer checker's own, which takes more than one process, or `is_remote`: somebody else's
    service has it.
    """

    name: str
    compare: Compare | None
    validate: Callable[[str], None] = _anything
    applies: Callable[[str, str], bool] = _always
    tasks: tuple[Task, ...] = TASKS
    is_remote: bool = False
