"""Who left is told from who only lost the connection: a request that is still read is not cancelled, whatever Redis
says.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from services.gateway import readers as module
from services.gateway.readers import Limits, Readers
from tandem.method.errors import Unavailable

_REQUEST = "r1"


class _Watchers:
    """Of a Redis that answers with `answers` in turn; None: it does not answer."""

    def __init__(self, *answers: bool | None) -> None:
        self._answers = list(answers)

    async def remove(self, request_id: str, watcher: str) -> None:
        raise Unavailable("Redis is gone")

    async def exist(self, request_id: str, now: float) -> bool:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            raise Unavailable("Redis is gone")
        return answer


class _Log:
    def __init__(self, watchers: _Watchers) -> None:
        self.watchers = watchers


class _Workflows:
    def __init__(self) -> None:
        self.cancelled: list[str] = []

    async def cancel_abandoned(self, request_id: str) -> None:
        self.cancelled.append(request_id)


async def _left(*answers: bool | None, reads_again: bool = False) -> list[str]:
    """What is cancelled once a reader has left."""
    workflows = _Workflows()
    readers = Readers(cast(Any, workflows), cast(Any, _Log(_Watchers(*answers))), Limits(1, timedelta(0)))
    readers.cancel_unless_watched(_REQUEST, "watcher")
    if reads_again:
        with readers.reading(_REQUEST):
            await asyncio.gather(*readers._pending)
    else:
        await asyncio.gather(*readers._pending)
    return workflows.cancelled


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEASE", timedelta(minutes=1))  # of a Redis that answers, none of it is waited
    monkeypatch.setattr(module, "_ASK_AGAIN_SECONDS", 0.01)


async def test_a_request_that_nobody_reads_is_cancelled() -> None:
    assert await _left(False) == [_REQUEST]


async def test_a_reader_who_came_back_keeps_it_while_redis_does_not_answer() -> None:
    assert await _left(None, reads_again=True) == []


async def test_redis_is_asked_again_whether_another_gateway_has_a_reader() -> None:
    assert await _left(None, None, True) == []


async def test_a_request_is_cancelled_where_redis_stays_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEASE", timedelta(seconds=0.05))
    assert await _left(None) == [_REQUEST]
