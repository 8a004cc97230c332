"""A checker of your own: runs a repository's tests on a patch. Tandem's worker calls it as any check, by name and
address.

    python examples/checkers/repository_tests.py --repository ~/src/shop --port 50060 -- python -m pytest -q
    export TANDEM_CHECKERS=shop_tests=127.0.0.1:50060       # of gateway and worker
    tandem ask --code --check shop_tests "..."

The answer is a unified diff. It is applied to a copy of the repository, and the command runs there. That is code which
a model wrote, and here nothing isolates it: run this service in a container or a machine of its own, without secrets
and without a network.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from tandem.v1 import checking_pb2, checking_pb2_grpc, tandem_pb2

_SHOWN_CHARACTERS = 1500
_MOST_CHARACTERS = 200_000
_NOT_COPIED = shutil.ignore_patterns(".venv", "node_modules", "__pycache__")


class RepositoryTests(checking_pb2_grpc.AnswerCheckerServicer):
    """`seconds`: of one run, also less where the caller's deadline is nearer."""

    def __init__(self, repository: Path, command: list[str], seconds: float) -> None:
        self._repository, self._command, self._seconds = repository, command, seconds

    def Check(self, request: checking_pb2.CheckRequest, context: Any) -> checking_pb2.CheckResponse:
        """The same result for each name that is asked for: this service has one check."""
        if len(request.answer) > _MOST_CHARACTERS:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"a patch has at most {_MOST_CHARACTERS} characters")
        began = _seconds_of_children()
        verdict, detail = self._run(request.answer, min(self._seconds, context.time_remaining() or self._seconds))
        seconds = _seconds_of_children() - began
        results = [
            tandem_pb2.CheckResult(
                name=check.name,
                verdict=verdict,
                detail=detail,
                score=float(verdict == tandem_pb2.VERDICT_PASS),
                seconds=seconds,
            )
            for check in request.checks
        ]
        return checking_pb2.CheckResponse(results=results)

    def _run(self, patch: str, seconds: float) -> tuple[tandem_pb2.Verdict.ValueType, str]:
        ends_at = time.monotonic() + seconds
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "repository"
            shutil.copytree(self._repository, copy, ignore=_NOT_COPIED)
            applied = subprocess.run(
                ["git", "apply", "--whitespace=nowarn", "-"], input=patch.strip() + "\n", cwd=copy, text=True,
                capture_output=True, check=False,
            )  # fmt: skip
            if applied.returncode:
                return tandem_pb2.VERDICT_FAIL, f"the patch does not apply: {applied.stderr[:_SHOWN_CHARACTERS]}"
            try:
                done = subprocess.run(
                    self._command, cwd=copy, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                    timeout=max(0.1, ends_at - time.monotonic()),
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return tandem_pb2.VERDICT_FAIL, f"the tests did not end within {seconds:.0f} s"
        if done.returncode:
            return tandem_pb2.VERDICT_FAIL, done.stdout[-_SHOWN_CHARACTERS:]
        return tandem_pb2.VERDICT_PASS, "the repository's tests pass"


def serve(repository: Path, command: list[str], seconds: float, address: str, files: list[Path]) -> tuple[Any, int]:
    """A running server and its port. `files`: certificate, key and authorities in PEM; without them it speaks clear
    text.
    """
    server = grpc.server(ThreadPoolExecutor(2))
    checking_pb2_grpc.add_AnswerCheckerServicer_to_server(RepositoryTests(repository, command, seconds), server)
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs a repository's tests on patches.")
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=50060)
    parser.add_argument("--seconds", type=float, default=50)
    parser.add_argument("--tls", type=Path, nargs=3, default=[], metavar=("CERTIFICATE", "KEY", "AUTHORITIES"))
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    server, port = serve(given.repository, given.command, given.seconds, f"{given.host}:{given.port}", given.tls)
    print(f"listening on {given.host}:{port}")
    server.wait_for_termination()


if __name__ == "__main__":
    main()
