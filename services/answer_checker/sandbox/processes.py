"""The service's side of the sandbox: it starts isolated processes, talks to them, and ends them."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from services.answer_checker.sandbox.fork_server import SETUP_FAILED
from services.answer_checker.sandbox.layers import Isolation, Limits
from services.answer_checker.sandbox.messages import encode, receive

_BOOT = """import json, sys
sys.path[:] = json.loads(sys.argv[1])
from services.answer_checker.sandbox.fork_server import main
main(*json.loads(sys.argv[2]))"""
_STOP_SECONDS = 5.0


class SandboxError(Exception):
    """The sandbox itself failed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """`seconds` is processor time, `status` the exit status or minus the signal's number."""

    seconds: float
    status: int
    timed_out: bool


class IsolatedProcess:
    """One isolated process. `talk` is the stream to it, with the messages of `messages.send` and `messages.receive`."""

    def __init__(self, control: socket.socket, talk: socket.socket) -> None:
        self._control, self.talk = control, talk

    async def end(self) -> Ended:
        """End it if it still runs. Raises SandboxError where it was not isolated, or nobody knows how it ended."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        return await self.ended()

    async def ended(self) -> Ended:
        """Wait for its end. Raises SandboxError as `end`."""
        report = await receive(self._control)
        if report is None:
            raise SandboxError("a process of the sandbox ended without a report")
        if report["status"] == SETUP_FAILED:
            raise SandboxError("a process could not be isolated; the service's log says why")
        return Ended(**report)

    def close(self) -> None:
        """Free what the service holds. A process that still runs is ended."""
        self._control.close()
        self.talk.close()


class Sandbox:
    """The fork server, and what it is asked for."""

    def __init__(self, server: subprocess.Popen[bytes], stream: socket.socket, isolation: Isolation) -> None:
        self._server, self._stream = server, stream
        self.isolation = isolation

    @classmethod
    async def start(cls, modules: Sequence[str], without: Sequence[str] = ()) -> Sandbox:
        """Start the fork server with `modules` loaded, from where this process finds them. Layers in `without` are not
        used, so that the others can be tested.

        Raises SandboxError where it does not start.
        """
        ours, theirs = socket.socketpair()
        order = json.dumps([theirs.fileno(), list(without), list(modules)])
        command = [sys.executable, "-I", "-X", "utf8", "-c", _BOOT, json.dumps(sys.path), order]
        server = subprocess.Popen(  # noqa: ASYNC220  # starting it takes a moment, once
            command,
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # an interrupt of the terminal is for the service only
        )
        theirs.close()
        ours.setblocking(False)
        hello = await receive(ours)
        if hello is None:
            ours.close()
            raise SandboxError(f"the fork server ended with status {server.wait()}; its error is above")
        isolation = Isolation(tuple(hello["holds"]), hello["lacks"])
        return cls(server, ours, isolation)

    @property
    def is_alive(self) -> bool:
        return self._server.poll() is None

    def launch(self, entry: str, limits: Limits, peer: socket.socket | None = None) -> IsolatedProcess:
        """Start a process that runs `entry` ("module:function") with a channel to the service and one to `peer`.

        `peer` is closed here; without one, the second channel is closed. Raises SandboxError.
        """
        control, kept = socket.socketpair()
        talk, inside = socket.socketpair()
        streams = [kept, inside] + ([peer] if peer else [])
        process = IsolatedProcess(control, talk)
        try:
            control.sendall(encode({"entry": entry, "limits": asdict(limits)}))
            socket.send_fds(self._stream, [b"\0"], [stream.fileno() for stream in streams])
        except OSError as error:
            process.close()
            raise SandboxError(f"the fork server takes no order: {error}") from None
        finally:
            for stream in streams:
                stream.close()
        control.setblocking(False)
        talk.setblocking(False)
        return process

    async def stop(self) -> None:
        """End the fork server; processes that still run are ended by whoever closes their processes."""
        self._stream.close()
        try:
            await asyncio.to_thread(self._server.wait, _STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
