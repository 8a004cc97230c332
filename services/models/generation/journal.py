"""What the running texts of this process have generated, in files that outlive it: where it is killed, whoever starts
next in its place tells the request log the tokens that no entry has.

A count is written into a page of memory that is a file's, which costs less than a microsecond; the kernel keeps it when
the process dies.
It is lost with the machine, and where nothing starts on the same folder: then what the last entry lacks is on no bill.
"""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

logger = logging.getLogger(__name__)
_COUNTS = struct.Struct("<QQ")
_BYTES = mmap.PAGESIZE


@dataclass(frozen=True, slots=True)
class Attempt:
    request_id: str
    epoch: int
    trial: int


@dataclass(frozen=True, slots=True)
class UnfinishedAttempt:
    """Tokens of an attempt whose process died before it could report them. `prompt` is 0 where it had not been
    prefilled, or sent to an API.
    """

    attempt: Attempt
    prompt: int
    generated: int


class Page:
    """The counts of one attempt that runs; none are kept where there is no file."""

    def __init__(self, file: Path | None = None, attempt: Attempt | None = None) -> None:
        self._file = file
        self._memory: mmap.mmap | None = None
        if file is not None and attempt is not None:
            self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                self._memory = self._map()
            except OSError:
                self._close()
                raise
            said = json.dumps(asdict(attempt)).encode()
            self._memory[_COUNTS.size : _COUNTS.size + len(said)] = said
        self._prompt = self._generated = 0

    def _map(self) -> mmap.mmap:
        """Raises OSError where the disk is full: to write into a page that it has no room for would kill the
        process.
        """
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)  # it is ours, until this process ends
        os.posix_fallocate(self._descriptor, 0, _BYTES)
        return mmap.mmap(self._descriptor, _BYTES)

    def count(self, prompt: int, generated: int) -> None:
        """All tokens of the attempt so far, as far as the caller knows them: the largest counts stand. What was sent to
        an API is known before its first token, which does not say it again.
        """
        self._prompt, self._generated = max(self._prompt, prompt), max(self._generated, generated)
        if self._memory is not None:
            _COUNTS.pack_into(self._memory, 0, self._prompt, self._generated)

    def remove(self) -> None:
        """The log has the counts. May be called again."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
            self._close()

    def _close(self) -> None:
        with suppress(OSError):
            if self._file is not None:
                self._file.unlink()
        os.close(self._descriptor)


class Journal:
    """In `folder`, of one role of one system; None: no counts are kept. One that cannot be written keeps none
    either.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if folder.stat().st_uid != os.getuid():
                    raise PermissionError(f"{folder} is another user's")
            except OSError as error:
                logger.warning("a killed process's last tokens will be on no bill: %s", error)
                self._folder = None

    def begin(self, attempt: Attempt) -> Page:
        try:
            return Page(self._folder and self._folder / uuid4().hex, attempt)
        except OSError as error:
            logger.warning("the tokens of %s are not kept: %s", attempt.request_id, error)
            return Page()

    def unfinished(self) -> Iterator[UnfinishedAttempt]:
        """Those of processes that have died. Each is returned once, and its file removed."""
        for file in sorted(self._folder.iterdir()) if self._folder else ():
            try:
                with file.open("rb") as opened:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)  # else its process lives
                    data = opened.read(_BYTES)
                    file.unlink()
                prompt, generated = _COUNTS.unpack_from(data)
                attempt = Attempt(**json.loads(data[_COUNTS.size :].rstrip(b"\0")))
            except (OSError, ValueError, TypeError, struct.error):  # it lives, or died before it had written who it is
                continue
            if prompt or generated:
                yield UnfinishedAttempt(attempt, prompt, generated)
