"""Checks of somebody's own behind gRPC: found by name, and whatever they do wrong is their own check's error."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from services.shared.checks.registry import add_remote, applies
from services.shared.process.callers import Callers
from services.shared.process.server import Server
from services.shared.process.settings import ProcessSettings
from services.shared.process.transport import PLAIN, Transport
from tandem.local.certificates import Authority
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckResult, CheckSpec, Verdict
from tandem.method.request.job import Step
from tandem.method.request.tasks import CheckTask
from tandem.paths import REPOSITORY
from tandem.v1 import checking_pb2, checking_pb2_grpc, tandem_pb2
from tests.certificates import issue
from workflows.activities.checking import OtherCheckers
from workflows.worker import WorkerSettings

pytestmark = pytest.mark.asyncio
PATCH = """--- a/shop.py
+++ b/shop.py
@@ -1,2 +1,2 @@
 def total(prices):
-    return 0
+    return BODY
"""


class Answering(checking_pb2_grpc.AnswerCheckerServicer):
    def __init__(self, reply: Callable[[checking_pb2.CheckRequest], Any]) -> None:
        self._reply = reply

    def Check(self, request: checking_pb2.CheckRequest, context: Any) -> Any:
        return self._reply(request)


class Passing(checking_pb2_grpc.AnswerCheckerServicer):
    async def Check(self, request: checking_pb2.CheckRequest, context: Any) -> checking_pb2.CheckResponse:
        return result("mine", verdict=tandem_pb2.VERDICT_PASS)


def result(name: str, **fields: Any) -> checking_pb2.CheckResponse:
    return checking_pb2.CheckResponse(results=[tandem_pb2.CheckResult(name=name, **fields)])


@pytest_asyncio.fixture
async def ask() -> AsyncIterator[Callable[..., Any]]:
    servers = []

    async def asked(reply: Callable[[checking_pb2.CheckRequest], Any], answer: str = "a") -> CheckResult:
        server = grpc.server(ThreadPoolExecutor(1))
        servers.append(server)
        checking_pb2_grpc.add_AnswerCheckerServicer_to_server(Answering(reply), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return await check({"mine": f"127.0.0.1:{port}"}, answer)

    yield asked
    for server in servers:
        server.stop(None)


async def check(addresses: dict[str, str], answer: str, transport: Transport = PLAIN) -> CheckResult:
    others = OtherCheckers(addresses, transport)
    try:
        task = CheckTask("r", "question", answer, [], "code")
        [found] = await others.check([CheckSpec("mine", "argument")], task, Step("r", "scripted", stage=1, trial=2))
        return found
    finally:
        await others.close()


async def test_what_the_service_says_is_the_checks_result(ask: Callable[..., Any]) -> None:
    seen = []

    def reply(request: checking_pb2.CheckRequest) -> checking_pb2.CheckResponse:
        seen.append((request.question, request.answer, request.checks[0].argument))
        return result("mine", verdict=tandem_pb2.VERDICT_FAIL, detail="no", score=0.25, seconds=1.5)

    found = await ask(reply)
    assert seen == [("question", "a", "argument")]
    assert found == CheckResult("mine", 1, "slm", Verdict.FAIL, "no", 0.25, 1.5, 2)


@pytest.mark.parametrize(
    "reply",
    [
        lambda request: result("another", verdict=tandem_pb2.VERDICT_PASS),
        lambda request: checking_pb2.CheckResponse(),
        lambda request: result("mine", verdict=tandem_pb2.VERDICT_UNSPECIFIED),
        lambda request: result("mine", verdict=tandem_pb2.VERDICT_PASS, score=float("nan")),
        lambda request: result("mine", verdict=tandem_pb2.VERDICT_PASS, seconds=-1.0),
        lambda request: 1 / 0,
    ],
)
async def test_whatever_it_does_wrong_is_an_error_and_no_pass(ask: Callable[..., Any], reply: Any) -> None:
    assert (await ask(reply)).verdict is Verdict.ERROR


async def test_a_service_that_is_gone_and_an_answer_that_is_too_long_are_errors(ask: Callable[..., Any]) -> None:
    assert (await check({"mine": "127.0.0.1:1"}, "a")).verdict is Verdict.ERROR
    found = await ask(lambda request: result("mine", verdict=tandem_pb2.VERDICT_PASS), "a" * 1_000_001)
    assert found.verdict is Verdict.ERROR


async def test_a_name_that_is_taken_is_refused_and_another_one_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.shared.checks.registry._remote", {})
    add_remote(["shop_tests", "shop_tests"])
    assert applies(CheckSpec("shop_tests"), "question", "code")
    for name in ("python_examples", "agreement"):
        with pytest.raises(InvalidArgument):
            add_remote([name])


async def test_addresses_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANDEM_CHECKERS", "a=h:1, b=dns:///g:2")
    assert WorkerSettings().checkers == {"a": "h:1", "b": "dns:///g:2"}
    monkeypatch.setenv("TANDEM_CHECKERS", "a=h")
    with pytest.raises(ValueError, match="NAME=HOST:PORT"):
        WorkerSettings()
    assert issubclass(WorkerSettings, ProcessSettings)


@pytest.mark.parametrize(("body", "verdict"), [("sum(prices)", "pass"), ("1", "fail"), ("(", "fail")])
async def test_the_example_runs_a_repositorys_tests_on_a_patch(tmp_path: Path, body: str, verdict: str) -> None:
    (tmp_path / "shop.py").write_text("def total(prices):\n    return 0\n")
    (tmp_path / "tests.py").write_text("from shop import total\nassert total([1, 2]) == 3\n")
    spec = importlib.util.spec_from_file_location("example", REPOSITORY / "examples/checkers/repository_tests.py")
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    server, port = example.serve(tmp_path, [sys.executable, "tests.py"], 30.0, "127.0.0.1:0", [])
    try:
        found = await check({"mine": f"127.0.0.1:{port}"}, PATCH.replace("BODY", body))
    finally:
        server.stop(None)
    assert found.verdict == verdict, found.detail
    assert (tmp_path / "shop.py").read_text().endswith("return 0\n")


async def test_a_checker_knows_the_worker_by_its_certificate_and_nobody_else(tmp_path: Path) -> None:
    ours, theirs, other = Authority(), Authority(), tmp_path / "theirs"
    other.mkdir()
    own = issue(tmp_path, ours, "answer-checker").transport()
    server = Server("127.0.0.1", 0, ["tandem.v1.AnswerChecker"], transport=own, callers=Callers.only("worker"))
    checking_pb2_grpc.add_AnswerCheckerServicer_to_server(Passing(), server.grpc)
    await server.start()
    await server.serving()
    address = {"mine": f"127.0.0.1:{server.port}"}
    try:
        for name, transport, verdict in (
            ("worker", issue(tmp_path, ours, "worker").transport(), Verdict.PASS),
            ("gateway", issue(tmp_path, ours, "gateway").transport(), Verdict.ERROR),
            ("stranger", issue(other, theirs, "worker").transport(), Verdict.ERROR),
            ("nobody", PLAIN, Verdict.ERROR),
        ):
            assert (await check(address, "a", transport)).verdict is verdict, name
    finally:
        await server.stop(timedelta(0))
