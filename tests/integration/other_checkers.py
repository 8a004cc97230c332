"""Answer checkers of other users, on kernels that lack a layer: one process for each user, which serves one for each kernel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.answer_checker.__main__ import build
from services.answer_checker.checker import MODULES, AnswerChecker, start_sandbox
from services.answer_checker.sandbox.layers import LANDLOCK, NAMESPACES, Limits
from services.shared.process.server import Server
from tandem.method.errors import FailedPrecondition
from tandem.v1 import checking_pb2, checking_pb2_grpc, tandem_pb2

ROOT, ROOT_OPEN, ROOT_CONTAINED, ROOT_POWERLESS, USER, MYSELF = (
    "root", "root, Python open to all", "root of a container", "root without capabilities", "an ordinary user",
    "whoever runs the tests",
)  # fmt: skip
ORDINARY, NOBODY = 12345, 65534
_OF_A_CONTAINER = "+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+setfcap"
_BECOME = {
    ROOT_CONTAINED: ["setpriv", f"--bounding-set=-all,{_OF_A_CONTAINER}", "--inh-caps=-all"],
    ROOT_POWERLESS: ["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
    USER: ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"],
}
_LIMITS = Limits(seconds=20.0)

ALL_LAYERS, NO_LANDLOCK, NO_NAMESPACES, OLD_LANDLOCK, NOTHING = (
    "with every layer", "without landlock", "without namespaces", "without namespaces, with the first landlock", "without any layer",
)  # fmt: skip
_WITHOUT = {
    ALL_LAYERS: (),
    NO_LANDLOCK: (LANDLOCK,),
    NO_NAMESPACES: (NAMESPACES,),
    OLD_LANDLOCK: (NAMESPACES,),
    NOTHING: (NAMESPACES, LANDLOCK, "seccomp"),
}
_LOADED = {OLD_LANDLOCK: ("tests.integration.old_landlock",)}


def possible_users() -> tuple[str, ...]:
    """Whom these tests can start a checker as."""
    if os.geteuid() or not shutil.which("setpriv") or not shutil.which("unshare"):
        return (MYSELF,)
    return ROOT, ROOT_OPEN, ROOT_CONTAINED, ROOT_POWERLESS, USER


def closed_above(path: Path) -> list[Path]:
    """The folders above it that other users may not enter, as a private home is, the outermost last."""
    return [parent for parent in path.resolve().parents if not parent.stat().st_mode & 0o001]


def owners(who: str) -> tuple[int, ...]:
    """The users whose files an answer of this checker could harm: that of the service, and what its answers become."""
    return {USER: (ORDINARY,), MYSELF: (os.geteuid(),)}.get(who, (0, NOBODY))


@dataclass
class Checkers:
    """Of one user: an address for each kernel, or why it does not start there."""

    user: str
    found: dict[str, str]

    async def examples(self, kernel: str, answer: str, argument: str) -> tandem_pb2.CheckResult:
        """The result of `python_examples` on that kernel."""
        check = tandem_pb2.Check(name="python_examples", argument=argument)
        async with grpc.aio.insecure_channel(self.found[kernel]) as channel:
            request = checking_pb2.CheckRequest(
                request_id="r", checks=[check], answer=answer, task=tandem_pb2.TASK_CODE
            )
            [result] = (await checking_pb2_grpc.AnswerCheckerStub(channel).Check(request)).results
        return result


@contextlib.asynccontextmanager
async def checkers_of(who: str) -> AsyncIterator[Checkers]:
    """Those that `who` runs; the last of the kernels by the operator's leave."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*_command(who, folder), "-c", f"from {__name__} import main; main()"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        assert process.stdin
        assert process.stdout
        try:
            line = await asyncio.to_thread(process.stdout.readline)
            assert line, f"no checkers of {who}"
            yield Checkers(who, json.loads(line))
        finally:
            process.stdin.close()
            process.stdout.close()
            await asyncio.to_thread(process.wait)


def _command(who: str, folder: str) -> list[str]:
    opens = _opened(folder) if who in (ROOT_OPEN, USER) else ""
    within = ["unshare", "--mount", "sh", "-c", opens + 'exec "$@"', "sh"] if opens else []
    return [*within, *_BECOME.get(who, []), sys.executable]


def _opened(folder: str) -> str:
    """Shell commands that let every user reach Python in this namespace of mounts, at its own path; none where that is so already."""
    python = Path(sys.base_prefix).resolve()
    private = closed_above(python)
    if not private:
        return ""
    return (
        f'mount --bind "{python}" "{folder}" && mount -t tmpfs -o mode=755 none "{private[-1]}" && mkdir -p "{python}" && '
        f'mount --bind "{folder}" "{python}" && '
    )


def main() -> None:
    """Say where the checkers serve, and serve until the standard input closes."""
    asyncio.run(_serve())


async def _serve() -> None:
    print(json.dumps({kernel: await _start(kernel) for kernel in _WITHOUT}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # fork servers end when this process does


_kept: list[Server] = []


async def _start(kernel: str) -> str:
    modules = (*MODULES, *_LOADED.get(kernel, ()))
    try:
        sandbox = await start_sandbox(allow_weak=kernel == NOTHING, without=_WITHOUT[kernel], modules=modules)
    except FailedPrecondition as error:
        return str(error)
    server = build("127.0.0.1", 0, AnswerChecker(sandbox, _LIMITS, 2, 64))
    _kept.append(server)
    await server.start()
    await server.serving()
    return f"127.0.0.1:{server.port}"
