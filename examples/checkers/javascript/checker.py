"""A checker for another language behind gRPC: JavaScript functions, run by Node in the namespaces of Tandem's sandbox.

    python examples/checkers/javascript/checker.py --port 50061
    export TANDEM_CHECKERS=javascript_examples=127.0.0.1:50061      # of gateway and worker
    tandem ask --code --check 'javascript_examples:add(1, 2) => 3' "Write a JavaScript function add(a, b) ..."

An example is a line `CALL => VALUE`, or `CALL === VALUE`, with the value in JSON: in the argument, or without one in
the question. Values are compared here, so that no program sees them. A program that parses proves nothing; it fails
where it does not.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from services.answer_checker.sandbox import layers, namespaces
from tandem.method.answer import last_block
from tandem.v1 import checking_pb2, checking_pb2_grpc, tandem_pb2

NAME = "javascript_examples"
_RUNNER = Path(__file__).with_name("run.js").resolve()
_EXAMPLE = re.compile(
    r"^[\s/*>`-]*(?P<call>[A-Za-z_$][\w$]*\(.*\))\s*(?:=>|===|//\s*=>)\s*(?P<value>.+?)[;`]?\s*$", re.MULTILINE
)
_LIBRARIES = "/lib", "/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/etc/ld.so.cache", "/etc/ssl"
_MOST_CHARACTERS, _MOST_EXAMPLES, _MOST_PRINTED = 200_000, 100, 1_000_000
_HEAP_MIB, _SCRATCH_BYTES, _THREADS = 256, 16 << 20, 256
_START_SECONDS = 30.0  # of Python and Node on a busy machine, before the program's own time begins
_NOT_ISOLATED, _ENDED_BADLY = 70, 71  # of `inside`; what the program itself ends with is told apart by `begun`
Said = tuple[tandem_pb2.Verdict.ValueType, str, float]


@dataclass(frozen=True)
class Example:
    call: str
    value: Any


def examples_in(text: str) -> list[Example]:
    """Of lines that say what a call is; a line whose value is no JSON says nothing."""
    found = []
    for match in _EXAMPLE.finditer(text):
        try:
            found.append(Example(match["call"], json.loads(match["value"])))
        except ValueError:
            continue
    return found[:_MOST_EXAMPLES]


class JavaScriptExamples(checking_pb2_grpc.AnswerCheckerServicer):
    """`seconds`: of one check, also less where the caller's deadline is nearer."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds

    def Check(self, request: checking_pb2.CheckRequest, context: Any) -> checking_pb2.CheckResponse:
        if len(request.answer) > _MOST_CHARACTERS:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"a program has at most {_MOST_CHARACTERS} characters")
        seconds = max(0.1, min(self._seconds, context.time_remaining() or self._seconds))
        results = []
        for check in request.checks:
            examples = examples_in(check.argument or request.question)
            began = _seconds_of_children()
            verdict, detail, score = judged(last_block(request.answer), examples, seconds)
            used = _seconds_of_children() - began
            results.append(
                tandem_pb2.CheckResult(name=check.name, verdict=verdict, detail=detail, score=score, seconds=used)
            )
        return checking_pb2.CheckResponse(results=results)


def judged(program: str, examples: list[Example], seconds: float) -> Said:
    """A pass needs two examples with different values: else a program that returns one value whatever it is given would
    pass.
    """
    if len({json.dumps(example.value, sort_keys=True) for example in examples}) < 2:
        return tandem_pb2.VERDICT_UNKNOWN, "there are no two examples with different values", 0.0
    found = _run({"program": program, "calls": [example.call for example in examples]}, seconds)
    if found is None:
        return tandem_pb2.VERDICT_ERROR, "the checker itself failed: the program did not run", 0.0
    if isinstance(found, str):
        return tandem_pb2.VERDICT_FAIL, found, 0.0
    if "failed" in found:
        return tandem_pb2.VERDICT_FAIL, f"the program does not load: {found['failed']}", 0.0
    outcomes = found.get("outcomes")
    if not isinstance(outcomes, list) or len(outcomes) != len(examples):
        return tandem_pb2.VERDICT_FAIL, "the program wrote something else than its values", 0.0
    held = [
        isinstance(each, dict) and "value" in each and _are_same(each["value"], example.value)
        for each, example in zip(outcomes, examples, strict=True)
    ]
    if all(held):
        return tandem_pb2.VERDICT_PASS, f"{len(held)} examples hold", 1.0
    wrong = held.index(False)
    said = outcomes[wrong] if isinstance(outcomes[wrong], dict) else {}
    shown = (
        f"raised {said['raised']}"
        if "raised" in said
        else f"is {json.dumps(said.get('value'))[:300]}, not {json.dumps(examples[wrong].value)[:300]}"
    )
    return tandem_pb2.VERDICT_FAIL, f"{examples[wrong].call[:300]} {shown}", sum(held) / len(held)


def _are_same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_are_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_are_same(part, other[name]) for name, part in one.items())
    return type(one) is type(other) and bool(one == other)


def _run(job: dict[str, Any], seconds: float) -> dict[str, Any] | str | None:
    """What run.js found, or why it came to nothing; None where the program never began, which is no fault of it."""
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as begun:
        process = subprocess.Popen(
            [sys.executable, __file__, "--inside", str(seconds), "--begun", str(begun.fileno())], stdin=subprocess.PIPE,
            stdout=printed, stderr=subprocess.DEVNULL, start_new_session=True, pass_fds=[begun.fileno()],
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
        try:
            process.communicate(json.dumps(job).encode(), timeout=seconds + _START_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        if not os.fstat(begun.fileno()).st_size or process.returncode not in (0, _ENDED_BADLY):
            return None
        if process.returncode:
            return f"the program did not end well within {seconds:g} s"
        printed.seek(0)
        try:
            found = json.loads(printed.read(_MOST_PRINTED + 1))
        except ValueError:
            return "the program ended before its values were known"
        return found if isinstance(found, dict) else "the program wrote something else than its values"


def inside(seconds: float, begun: int) -> int:
    """In a process of its own: isolate, let Node run, and end it in time. Nothing of the answer runs before the
    isolation holds.

    run.js writes into the file `begun` and closes it before it loads the program, which so cannot say that it never
    ran.
    """
    found = shutil.which("node")
    if found is None:
        return _NOT_ISOLATED
    node = os.path.realpath(found)
    readable = [node, str(_RUNNER), *(path for path in _LIBRARIES if os.path.exists(path))]
    try:
        namespaces.enter(readable, tempfile.gettempdir(), layers.SCRATCH_INSIDE, _SCRATCH_BYTES)
    except OSError:
        return _NOT_ISOLATED
    child = os.fork()  # the first process of the new process namespace: with it all that it has started ends
    if child == 0:
        try:
            os.chdir(layers.SCRATCH_INSIDE)
            processor = int(seconds) + 1
            for kind, limit in (
                (resource.RLIMIT_CPU, processor),
                (resource.RLIMIT_NPROC, _THREADS),
                (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_FSIZE, _MOST_PRINTED),
            ):
                resource.setrlimit(kind, (limit, limit))
            layers.give_up_rights(readable)
            os.execve(node, [node, f"--max-old-space-size={_HEAP_MIB}", str(_RUNNER), str(begun)], {})
        finally:
            os._exit(_NOT_ISOLATED)
    _wait_for_the_beginning(child, begun)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, seconds)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it stays, so that a late alarm still finds it
    signal.setitimer(signal.ITIMER_REAL, 0)
    return _ENDED_BADLY if os.waitpid(child, 0)[1] else 0


def _wait_for_the_beginning(child: int, begun: int) -> None:
    """Until run.js has written into `begun` or the child has ended; the caller gives up after `_START_SECONDS`."""
    while not os.fstat(begun).st_size and not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        time.sleep(0.002)


def serve(address: str, files: list[Path], seconds: float = 5.0) -> tuple[Any, int]:
    """A running server and its port. `files`: certificate, key and authorities in PEM; without them it speaks clear
    text.
    """
    server = grpc.server(ThreadPoolExecutor(os.cpu_count() or 1))
    checking_pb2_grpc.add_AnswerCheckerServicer_to_server(JavaScriptExamples(seconds), server)
    if files:
        certificate, key, authorities = (file.read_bytes() for file in files)
        credentials = grpc.ssl_server_credentials([(key, certificate)], authorities, require_client_auth=True)
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    server.start()
    return server, port


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs JavaScript functions against examples.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=50061)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--tls", type=Path, nargs=3, default=[], metavar=("CERTIFICATE", "KEY", "AUTHORITIES"))
    parser.add_argument("--inside", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--begun", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is not None:
        return inside(given.inside, given.begun)
    server, port = serve(f"{given.host}:{given.port}", given.tls, given.seconds)
    print(f"listening on {given.host}:{port}")
    server.wait_for_termination()
    return 0


if __name__ == "__main__":
    sys.exit(main())
