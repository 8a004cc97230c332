"""Uploads of files: how many there are at once, and how long each may take."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

from services.gateway.batches.files import check_size
from tandem.method.errors import InvalidArgument, ResourceExhausted
from tandem.v1 import batch_pb2

_RETRY_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The upload limits of one gateway. `of_tenant` counts the uploads of each tenant; callers without one share
    `at_once`.

    `silence` is the longest time without content, `whole` the longest from the first message to the last.
    """

    at_once: int = 16
    of_tenant: int = 4
    silence: timedelta = timedelta(seconds=30)
    whole: timedelta = timedelta(minutes=10)


LIMITS = UploadLimits()


class Uploads:
    """Each holds a temporary file, of as many bytes as a file may have, until it is stored."""

    def __init__(self, limits: UploadLimits = LIMITS) -> None:
        self._limits = limits
        self._places: Counter[str] = Counter()  # taken, by tenant
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Take a place for one more upload. Raises ResourceExhausted where there is none."""
        taken, of_tenant = self._places.total(), self._places[tenant]
        if tenant and of_tenant >= self._limits.of_tenant:
            raise _no_place(f"tenant {tenant!r} uploads {of_tenant} files to this gateway now")
        if taken >= self._limits.at_once:
            raise _no_place(f"{taken} files are being uploaded to this gateway")
        self._places[tenant] += 1
        try:
            yield
        finally:
            self._places[tenant] -= 1
            self._places += Counter()  # forgets who has none
            if not self._places[tenant]:
                self._turns.pop(tenant, None)

    def turn(self, tenant: str) -> asyncio.Lock:
        """Take a turn to store what has come, for who has a place. A tenant stores one upload at a time."""
        return self._turns[tenant]

    async def receive(
        self, messages: AsyncIterator[batch_pb2.CreateFileRequest], into: IO[bytes]
    ) -> batch_pb2.FileDescription:
        """Return what the first message says of the file. The content of the others goes `into`.

        Raises InvalidArgument without a description and for a file that is too large, ResourceExhausted for one that is
        too slow.
        """
        whole, silence, size = self._limits.whole.total_seconds(), self._limits.silence.total_seconds(), 0
        clock = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(whole), asyncio.timeout(silence) as silent:
                described = _description(await anext(messages, batch_pb2.CreateFileRequest()))
                async for message in messages:
                    if message.content:  # an empty message would keep the place for nothing
                        silent.reschedule(clock() + silence)
                        size += into.write(message.content)
                        check_size(size)
                return described
        except TimeoutError:
            raise _too_slow(
                f"no content came for {silence:g} s" if silent.expired() else f"it took {whole:g} s"
            ) from None


def _description(first: batch_pb2.CreateFileRequest) -> batch_pb2.FileDescription:
    if not first.HasField("description"):
        raise InvalidArgument("the first message describes the file", field="description")
    return first.description


def _no_place(why: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"{why}, which is the limit: upload this file when one of them has ended",
        reason="TOO_MANY_UPLOADS",
        retry_after_s=_RETRY_AFTER_SECONDS,
    )


def _too_slow(why: str) -> ResourceExhausted:
    return ResourceExhausted(
        f"the upload was given up, because {why}, which is the limit: send the file again, without pauses or in parts",
        reason="UPLOAD_TOO_SLOW",
    )
