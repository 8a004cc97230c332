"""`tandem` in this process: for tests of what a command does and says, where nothing is killed and no boundary of
processes is claimed.

A process of its own takes half a second to import what it needs, `tandem eval` four.
"""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from collections.abc import Iterator
from subprocess import CompletedProcess
from unittest import mock

from tandem.cli import main
from tests.stacks import environment


def tandem(*arguments: str, stdin: bytes = b"", **variables: str) -> CompletedProcess[str]:
    """As a command with these arguments, standard input and variables ends and prints; from any thread."""
    out, errors = _file(), _file()
    with contextlib.ExitStack() as around:
        around.enter_context(environment(variables))
        around.enter_context(_streams(_file(stdin), out, errors))
        around.enter_context(mock.patch.object(sys, "argv", ["tandem", *arguments]))
        around.enter_context(
            mock.patch.object(signal, "signal")
        )  # they are the test's process's, and of its main thread
        code = _exit_code(errors)
    return CompletedProcess(["tandem", *arguments], code, _text(out), _text(errors))


def _exit_code(errors: io.TextIOWrapper) -> int:
    try:
        main()
    except SystemExit as end:
        if isinstance(end.code, str):
            errors.write(f"{end.code}\n")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@contextlib.contextmanager
def _streams(stdin: io.TextIOWrapper, out: io.TextIOWrapper, errors: io.TextIOWrapper) -> Iterator[None]:
    with mock.patch.object(sys, "stdin", stdin), contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        yield


def _file(content: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", write_through=True)


def _text(file: io.TextIOWrapper) -> str:
    buffer = file.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
