"""All checks by name: the built-in ones, and those of installed packages (entry point group `tandem.checks`)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points

from services.shared.checks.api import Check
from services.shared.checks.built_in import BUILT_IN
from services.shared.checks.calls import CALL_CHECK
from services.shared.checks.python_agreement import PYTHON_AGREEMENT
from tandem.method.conversation import Task
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import AGREEMENT, CheckSpec, agreement

GROUP = "tandem.checks"
UNKNOWN_CHECK = "UNKNOWN_CHECK"


_remote: dict[str, Check] = {}


def checks() -> dict[str, Check]:
    """Return every check that a request of this process may name."""
    return {**_installed(), **_remote}


@cache
def _installed() -> dict[str, Check]:
    """Return every check that an answer's process can run. A package cannot replace a built-in one."""
    found = {entry.name: _as_check(entry.name, entry.load()) for entry in entry_points(group=GROUP)}
    return found | {check.name: check for check in (*BUILT_IN, CALL_CHECK, PYTHON_AGREEMENT)}


def add_remote(names: Iterable[str]) -> None:
    """Checks that run elsewhere, by somebody else's service: their arguments are its own matter. Raises InvalidArgument
    for a name that is taken.
    """
    for name in names:
        if name == AGREEMENT or name in _installed():
            raise InvalidArgument(f"a check is called {name!r} already", field="checks")
        _remote[name] = Check(name, None, is_remote=True)


def known_names() -> list[str]:
    """Return names that a request may use. `agreement` compares answers of one request; the workflow decides it."""
    return sorted({*checks(), AGREEMENT})


def find_check(spec: CheckSpec) -> Check:
    """Raises InvalidArgument (UNKNOWN_CHECK) with the known names."""
    check = checks().get(spec.name)
    if check is None:
        known = ", ".join(known_names())
        raise InvalidArgument(f"no check is called {spec.name!r}; known: {known}", field="checks", reason=UNKNOWN_CHECK)
    return check


def validate(spec: CheckSpec) -> None:
    """Raises InvalidArgument, field "checks", for an unknown check and for an argument that it cannot use."""
    try:
        if spec.name == AGREEMENT:
            agreement([], spec)
        else:
            check = find_check(spec)
            if spec.argument:
                check.validate(spec.argument)
    except ValueError as error:
        raise InvalidArgument(f"{spec.name}: {error}", field="checks") from None


def applies(spec: CheckSpec, question: str, task: Task) -> bool:
    """Tell whether the check has anything to compare with. Raises InvalidArgument as `validate`."""
    validate(spec)
    if spec.name == AGREEMENT:
        return True
    check = find_check(spec)
    return task in check.tasks and check.applies(question, spec.argument)


def _as_check(name: str, loaded: object) -> Check:
    """An entry point is a Check, or a function that compares."""
    if isinstance(loaded, Check):
        return loaded
    if not callable(loaded):
        raise TypeError(f"entry point {name!r} of {GROUP} is neither a Check nor a function")
    return Check(name, loaded)
