"""No answer changes, adds or reads a file of the service's user: whoever that is, and whichever layer the kernel
lacks.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.answer_checker.sandbox.seccomp import ALWAYS, WITH_A_FOLDER, conditional
from tests.integration.checking import FAIL, PASS
from tests.integration.escapes import ESCAPES, was_written_outside
from tests.integration.file_attacks import ATTACKS, NUMBERS, Victims
from tests.integration.other_checkers import (
    ALL_LAYERS,
    NO_LANDLOCK,
    NO_NAMESPACES,
    NOTHING,
    OLD_LANDLOCK,
    USER,
    Checkers,
    checkers_of,
    closed_above,
    owners,
    possible_users,
)
from tests.integration.system_calls import HARMFUL, OF_OTHERS, WITH_ARGUMENTS, accepted, refused

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the attacks are of this machine's system calls"),
]
KERNELS = ALL_LAYERS, NO_LANDLOCK, NO_NAMESPACES, OLD_LANDLOCK
HELD_BY_LIMITS = {"open that appends", "open by its old number", "openat2", "sendfile", "copy_file_range", "fallocate"}
NEEDS_MORE = {"ioctl that sets flags", "setxattrat", "removexattrat"}
"""Attacks that not every kernel or file system takes."""
ALWAYS_ANSWERED = {335, 336}
"""uretprobe and uprobe, which no filter sees: the kernel ends a process that calls them by itself."""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=possible_users())
async def checkers(request: pytest.FixtureRequest) -> AsyncIterator[Checkers]:
    if request.param == USER and (closed := closed_above(Path(__file__))):
        pytest.skip(f"an ordinary user cannot read this checkout: {closed[-1]} is closed to others")
    async with checkers_of(request.param) as found:
        yield found


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


def is_refused(checkers: Checkers, kernel: str) -> bool:
    """Whether no program runs there at all: this user has no namespaces either."""
    said = checkers.found[kernel]
    if kernel != NO_LANDLOCK or said.startswith("127.0.0.1:"):
        return False
    assert "TANDEM_CHECKER_ALLOW_WEAK_SANDBOX=true" in said
    return True


@pytest.mark.parametrize("kernel", KERNELS)
async def test_no_answer_touches_a_file_of_the_services_user(checkers: Checkers, folder: Path, kernel: str) -> None:
    if is_refused(checkers, kernel):
        return
    for owner in owners(checkers.user):
        victims = Victims(folder / f"of-{owner}", owner)
        result = await checkers.examples(kernel, victims.program, f"assert f() == {victims.secret!r}")
        assert (result.verdict, result.score) == (FAIL, 0.0), result.detail
        assert victims.hit() == set()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("escape", ["writing outside", "reading outside", "files without end", "a full disk"])
async def test_no_answer_writes_or_reads_beside_its_own_folder(checkers: Checkers, kernel: str, escape: str) -> None:
    if is_refused(checkers, kernel):
        return
    result = await checkers.examples(kernel, ESCAPES[escape], 'assert f() == "right"')
    assert result.verdict == FAIL, result
    assert not was_written_outside()


async def test_the_attacks_do_harm_where_nothing_holds_them(checkers: Checkers, folder: Path) -> None:
    missed = set(ATTACKS)
    for owner in owners(checkers.user):
        victims = Victims(folder / f"of-{owner}", owner)
        await checkers.examples(NOTHING, victims.program, "assert f() == ''")
        missed -= victims.hit()
    assert missed <= HELD_BY_LIMITS | NEEDS_MORE


@pytest.mark.parametrize("kernel", KERNELS)
async def test_no_other_system_call_than_the_listed_ones_is_answered(checkers: Checkers, kernel: str) -> None:
    if is_refused(checkers, kernel):
        return
    may_write = kernel in (ALL_LAYERS, NO_LANDLOCK)
    listed = ALWAYS | (WITH_A_FOLDER if may_write else {})
    known = {x86 for x86, _ in listed.values()} | {rule.numbers[0] for rule in conditional(1, may_write=may_write)}
    assert not known & set(HARMFUL.values())
    others = sorted(set(range(548)) - known - ALWAYS_ANSWERED)
    assert set(HARMFUL.values()) <= set(others)
    result = await checkers.examples(kernel, refused(others), "assert f() == []")
    assert result.verdict == PASS, result.detail


@pytest.mark.parametrize("kernel", KERNELS)
async def test_no_listed_system_call_reaches_other_processes(checkers: Checkers, kernel: str) -> None:
    if is_refused(checkers, kernel):
        return
    result = await checkers.examples(kernel, accepted(WITH_ARGUMENTS), "assert f() == []")
    assert result.verdict == PASS, result.detail


async def test_the_calls_reach_other_processes_where_nothing_holds_them(checkers: Checkers) -> None:
    if checkers.user != USER:
        return
    expected = sorted(OF_OTHERS)
    result = await checkers.examples(
        NOTHING, accepted({name: WITH_ARGUMENTS[name] for name in expected}), f"assert f() == {expected}"
    )
    assert result.verdict == PASS, result.detail
    assert NUMBERS["chmod"] in HARMFUL.values()
