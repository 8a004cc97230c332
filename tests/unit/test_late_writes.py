"""Writes that no log takes are given up in the end, and a warning says which tokens that were."""

from __future__ import annotations

import asyncio

import pytest

from services.models.generation import late_writes
from services.models.generation.late_writes import LateWrites, TextId
from tandem.method.errors import RequestLogUnavailable
from tandem.method.tokens import TokenCounts

NAME = "late-writes-test"


async def refuse() -> None:
    raise RequestLogUnavailable("full")


def given_up(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Of this file's requests: other tests' servers may still log, and their late writes obey the constants set here
    too.
    """
    messages = [each.getMessage() for each in caplog.records if each.name == late_writes.__name__]
    return [message for message in messages if NAME in message]


async def test_the_oldest_of_too_many_is_given_up_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(late_writes, "_MOST", 2)
    late = LateWrites()
    for number in range(2):
        late.add(TextId(f"{NAME}-{number}"), refuse, TokenCounts(prompt=10 + number))
    assert not given_up(caplog)
    late.add(TextId(f"{NAME}-2"), refuse, TokenCounts(prompt=12))
    [warning] = given_up(caplog)
    assert f"{NAME}-0" in warning
    assert "prompt=10" in warning
    assert [late.owed(TextId(f"{NAME}-{number}")).prompt for number in range(3)] == [0, 11, 12]


async def test_what_is_late_for_too_long_is_given_up_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(late_writes, "_FORGET_AFTER_SECONDS", 0.0)
    late = LateWrites()
    late.add(TextId(NAME), refuse, TokenCounts(prompt=10))
    async with asyncio.timeout(10):
        while late.owed(TextId(NAME)).prompt:
            await asyncio.sleep(0.01)
    [warning] = given_up(caplog)
    assert "prompt=10" in warning
